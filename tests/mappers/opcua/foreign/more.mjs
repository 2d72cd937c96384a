// What goes beyond plain values: a range, structures, an event, an alarm, history.
export async function addMore({ require, space, own, plant, clock }) {
  const { DataType, Variant } = require("node-opcua-variant");
  const { ensureDatatypeExtracted } = require("node-opcua-address-space");
  const { StatusCodes } = require("node-opcua-status-code");

  const pressure = own.addAnalogDataItem({
    componentOf: plant,
    browseName: "Pressure",
    nodeId: "s=Pressure",
    dataType: "Double",
    engineeringUnitsRange: { low: 0, high: 200 },
    minimumSamplingInterval: 0,
    value: new Variant({ dataType: DataType.Double, value: 100 }),
  });
  pressure.setValueFromSource({ dataType: DataType.Double, value: 100 });

  await addStructures();
  space.installHistoricalDataNode(clock, { maxOnlineValues: 1000 });
  space.installAlarmsAndConditionsService();

  const kind = own.addEventType({ browseName: "BurnerEventType", subtypeOf: "BaseEventType" });
  own.addVariable({
    propertyOf: kind,
    browseName: "Heat",
    dataType: "Double",
    modellingRule: "Mandatory",
    value: new Variant({ dataType: DataType.Double, value: 0 }),
  });
  const boiler = own.addObject({
    organizedBy: plant,
    browseName: "Boiler",
    nodeId: "s=Boiler",
    eventSourceOf: plant,
  });
  method("Ring", [{ name: "heat", dataType: DataType.Double }], ([heat]) => {
    boiler.raiseEvent(kind, {
      message: { dataType: DataType.LocalizedText, value: { text: "burner on" } },
      severity: { dataType: DataType.UInt16, value: 300 },
      heat: { dataType: DataType.Double, value: heat.value },
    });
  });

  const flag = (name, value) =>
    own.addVariable({
      componentOf: boiler,
      browseName: name,
      nodeId: `s=${name}`,
      dataType: "Boolean",
      value: new Variant({ dataType: DataType.Boolean, value }),
    });
  const hot = flag("Hot", false);
  own.instantiateOffNormalAlarm({
    browseName: "Overheating",
    nodeId: "s=Overheating",
    componentOf: boiler,
    conditionSource: boiler,
    inputNode: hot,
    normalState: flag("Normal", false),
    optionals: ["ConfirmedState", "Confirm"],
  });
  method("Heat", [{ name: "hot", dataType: DataType.Boolean }], ([state]) => {
    hot.setValueFromSource(state);
  });

  function method(name, inputArguments, run) {
    const options = { browseName: name, nodeId: `s=Boiler.${name}`, inputArguments };
    own.addMethod(boiler, { ...options, outputArguments: [] }).bindMethod((given, context, done) => {
      run(given);
      done(null, { statusCode: StatusCodes.Good, outputArguments: [] });
    });
  }

  async function addStructures() {
    const type = (browseName, partialDefinition, subtypeOf = "Structure") => {
      const options = { browseName, isAbstract: false, subtypeOf, partialDefinition };
      const made = own.createDataType(options);
      own.addObject({
        browseName: { name: "Default Binary", namespaceIndex: 0 },
        encodingOf: made,
        typeDefinition: "DataTypeEncodingType",
      });
      return made;
    };
    const mode = own.addEnumerationType({
      browseName: "Mode",
      enumeration: ["Off", "Auto", "Manual"],
    });
    const band = type("Band", [
      { name: "Low", dataType: DataType.Double },
      { name: "High", dataType: DataType.Double },
    ]);
    const begin = type(
      "Start",
      [
        { name: "Hours", dataType: DataType.UInt32 },
        { name: "Label", dataType: DataType.String },
      ],
      "Union",
    );
    const recipe = type("Recipe", [
      { name: "Name", dataType: DataType.String },
      { name: "Mode", dataType: mode.nodeId },
      { name: "Band", dataType: band.nodeId },
      { name: "Steps", dataType: band.nodeId, valueRank: 1 },
      { name: "Start", dataType: begin.nodeId },
      { name: "Note", dataType: DataType.String, isOptional: true },
    ]);
    await ensureDatatypeExtracted(space);
    const value = space.constructExtensionObject(recipe, {
      name: "overnight",
      mode: 1,
      band: { low: 55, high: 65 },
      steps: [{ low: 20, high: 40 }],
      start: { label: "soon" },
    });
    own.addVariable({
      componentOf: plant,
      browseName: "Recipe",
      nodeId: "s=Recipe",
      dataType: recipe.nodeId,
      value: { dataType: DataType.ExtensionObject, value },
    });
  }
}
