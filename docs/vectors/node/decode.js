// Decodes the test vectors as a consumer decodes records: npm install && node decode.js
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import avro from "avsc";

const root = new URL("../../../", import.meta.url);
const read = (path) => JSON.parse(readFileSync(new URL(path, root)));
const { namespace, events } = read("docs/vectors/events.json");

// On a running system these come from /registry/schemas/ids/{id}.
const types = new Map(
  events.map((event) => [event.schema_id, avro.Type.forSchema(read(event.schema))]),
);

// Confluent framing: byte 0, the schema's id in four bytes, the Avro body.
function decode(value) {
  if (value.readUInt8(0) !== 0) throw new Error("not in Confluent framing");
  const id = value.readUInt32BE(1);
  if (!types.has(id)) throw new Error(`unknown schema id ${id}`);
  return types.get(id).fromBuffer(value.subarray(5));
}

// UUIDv5 of the parts: each after "=", null as nothing, with U+001F between them.
function eventId(parts) {
  const name = parts.map((part) => (part === null ? "" : `=${part}`)).join("\x1f");
  const seed = Buffer.from(namespace.replaceAll("-", ""), "hex");
  const id = createHash("sha1").update(seed).update(name).digest().subarray(0, 16);
  id[6] = (id[6] & 0x0f) | 0x50;
  id[8] = (id[8] & 0x3f) | 0x80;
  return id.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

for (const event of events) {
  const value = decode(Buffer.from(event.value_hex, "hex"));
  console.log(JSON.stringify({ topic: event.topic, event_id: eventId(event.event_id_of), value }));
}
