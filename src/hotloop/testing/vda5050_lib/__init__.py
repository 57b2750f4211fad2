"""Robots that are not ours: virtual vehicles of vda-5050-lib (Siemens, MIT; VDA 5050 2.0), run by node."""
