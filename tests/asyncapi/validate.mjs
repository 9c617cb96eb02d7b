// Reads AsyncAPI documents with AsyncAPI's own parser and holds every example against its schema.
// node validate.mjs DOCUMENT...   prints what it finds; exit code 1 for an error or a warning, 2 without a document

import { readFile } from "node:fs/promises";

import { DiagnosticSeverity, Parser } from "@asyncapi/parser";
import Ajv from "ajv";

const NAMES = ["error", "warning", "information", "hint"];
const PASSED_OVER = ["components", "x-claims"];

/** What the parser says of the document, as one line each with how grave it is. */
async function read(path, text) {
  const { diagnostics } = await new Parser().parse(text, { source: path });
  return diagnostics.map(({ severity, code, message, path: where, range }) => ({
    severity,
    line: `${path}:${range.start.line + 1}: ${NAMES[severity]} ${code}: ${message} (${where.join(".")})`,
  }));
}

/** Every example with the place of its schema: of messages their payloads, of schemas the values themselves. */
function* examples({ messages = {}, schemas = {} }) {
  for (const [name, message] of Object.entries(messages)) {
    for (const example of message.examples ?? []) {
      yield { where: `message ${name}, example ${example.name}`, schema: message.payload.$ref, value: example.payload };
    }
  }
  for (const [name, schema] of Object.entries(schemas)) {
    for (const [place, value] of (schema.examples ?? []).entries()) {
      yield { where: `schema ${name}, example ${place}`, schema: `#/components/schemas/${name}`, value };
    }
  }
}

/** Examples that their schemas do not allow, and schemas that are none (AsyncAPI's parser looks at neither). */
function misfits(path, { components = {} }) {
  const ajv = new Ajv({ strict: true, strictRequired: false, allErrors: true, keywords: PASSED_OVER });
  const found = [];
  const note = (where, message) =>
    found.push({ severity: DiagnosticSeverity.Error, line: `${path}: error example: ${where}: ${message}` });
  ajv.addSchema({ components: { schemas: components.schemas } }, path, undefined, false);
  for (const { where, schema, value } of examples(components)) {
    try {
      const fits = ajv.getSchema(path + schema);
      if (!fits(value)) note(where, ajv.errorsText(fits.errors));
    } catch (error) {
      note(where, error.message);
    }
  }
  return found;
}

/** Prints what is wrong with one document; true for a good one. */
async function isGood(path) {
  const text = await readFile(path, "utf8");
  const found = await read(path, text);
  const readable = !found.some(({ severity }) => severity === DiagnosticSeverity.Error);
  if (readable) found.push(...misfits(path, JSON.parse(text)));
  for (const { line } of found) console.log(line);
  return !found.some(({ severity }) => severity <= DiagnosticSeverity.Warning);
}

const paths = process.argv.slice(2);
let good = true;
for (const path of paths) good = (await isGood(path)) && good;
process.exitCode = paths.length === 0 ? 2 : good ? 0 : 1;
