// Virtual vehicles of vda-5050-lib at a broker: node robots.js BROKER COUNT TIMES-FASTER. Ends when its input does.
"use strict";
const { AgvController, VirtualAgvAdapter } = require("vda-5050-lib");

const [brokerUrl, count, timeLapse] = process.argv.slice(2);
const started = [];

async function main() {
    for (let number = 0; number < Number(count); number++) {
        const robot = new AgvController(
            { manufacturer: "lib", serialNumber: `n${number}` },
            { interfaceName: "uagv", transport: { brokerUrl, protocolVersion: "5.0", reconnectPeriod: 100 }, vdaVersion: "2.0.0" },
            { agvAdapterType: VirtualAgvAdapter, publishStateInterval: 500, publishVisualizationInterval: 0 },
            {
                initialPosition: { mapId: "hotloop", x: 0, y: 0, theta: 0, lastNodeId: "a1-0.00" },
                vehicleSpeed: 2, tickRate: 100, timeLapse: Number(timeLapse),
            },
        );
        await robot.start();
        started.push(robot);
    }
    console.log("started");
}

process.stdin.resume();
process.stdin.on("end", async () => {
    await Promise.all(started.map(robot => robot.stop()));
    process.exit(0);
});
main().catch(error => { console.error(error); process.exit(1); });
