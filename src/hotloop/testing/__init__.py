"""testing: public. The laws of the ports (`checks`), in-memory twins, a simulated clock and disk."""
