// An OPC UA server that is not asyncua: every security mode, users, limits, methods.
// Usage: node server.mjs PORT PKI_FOLDER [MAX_NODES]; prints one JSON line when it listens.
import { createRequire } from "node:module";
import path from "node:path";
import { addMore } from "./more.mjs";

const require = createRequire(path.join(process.cwd(), "package.json"));
const opcua = require("node-opcua-server");
const { DataType, Variant, VariantArrayType } = require("node-opcua-variant");
const { StatusCodes } = require("node-opcua-status-code");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const [port, pki, limit] = process.argv.slice(2);
const certificates = new OPCUACertificateManager({
  rootFolder: pki,
  automaticallyAcceptUnknownCertificate: !process.argv.includes("--strict"),
});
await certificates.initialize();
const server = new opcua.OPCUAServer({
  port: Number(port),
  host: "127.0.0.1",
  hostname: "behind-nat.invalid",
  serverCertificateManager: certificates,
  userCertificateManager: certificates,
  securityPolicies: [
    SecurityPolicy.None,
    SecurityPolicy.Basic256Sha256,
    SecurityPolicy.Aes128_Sha256_RsaOaep,
    SecurityPolicy.Aes256_Sha256_RsaPss,
  ],
  securityModes: [
    MessageSecurityMode.None,
    MessageSecurityMode.Sign,
    MessageSecurityMode.SignAndEncrypt,
  ],
  allowAnonymous: true,
  userManager: { isValidUser: (user, password) => user === "operator" && password === "s3cret" },
  serverCapabilities: {
    operationLimits: limit
      ? { maxNodesPerRead: Number(limit), maxMonitoredItemsPerCall: Number(limit) }
      : {},
  },
});
await server.initialize();
const space = server.engine.addressSpace;
const own = space.registerNamespace("urn:foreign:plant");
const plant = own.addObject({
  organizedBy: space.rootFolder.objects,
  browseName: "Plant",
  notifierOf: space.rootFolder.objects.server,
});

function variable(name, dataType, value, extra = {}) {
  return own.addVariable({
    componentOf: plant,
    browseName: name,
    nodeId: `s=${name}`,
    dataType,
    value: new Variant({ dataType: DataType[dataType], value }),
    ...extra,
  });
}

variable("Speed", "UInt16", 1450);
variable("Level", "Float", 1.5);
variable("Label", "String", "boiler");
own.addVariable({
  componentOf: plant,
  browseName: "Phases",
  nodeId: "s=Phases",
  dataType: "Double",
  valueRank: 1,
  arrayDimensions: [3],
  value: new Variant({
    dataType: DataType.Double,
    arrayType: VariantArrayType.Array,
    value: new Float64Array([1, 2, 3]),
  }),
});
const clock = variable("Clock", "Double", 0);
let ticks = 0;
setInterval(() => {
  ticks += 1;
  clock.setValueFromSource({ dataType: DataType.Double, value: ticks });
}, 50);
for (let n = 0; n < 60; n += 1) variable(`Item${n}`, "Double", n);

const add = own.addMethod(plant, {
  browseName: "Add",
  nodeId: "s=Plant.Add",
  inputArguments: [
    { name: "a", dataType: DataType.Int32 },
    { name: "b", dataType: DataType.Int32 },
  ],
  outputArguments: [{ name: "sum", dataType: DataType.Int32 }],
});
add.bindMethod((inputs, context, callback) => {
  const value = inputs[0].value + inputs[1].value;
  callback(null, {
    statusCode: StatusCodes.Good,
    outputArguments: [{ dataType: DataType.Int32, value }],
  });
});

await addMore({ require, space, own, plant, clock });
await server.start();
console.log(JSON.stringify({ port: Number(port), plant: plant.nodeId.toString() }));
process.on("SIGTERM", () => server.shutdown(0).then(() => process.exit(0)));
