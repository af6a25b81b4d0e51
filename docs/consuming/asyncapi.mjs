// Validates an AsyncAPI document: `node asyncapi.mjs FILE`. Exit code 1 if it has an error.
import { Parser, fromFile } from "@asyncapi/parser";

const ERROR = 0;
const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
const errors = diagnostics.filter((one) => one.severity === ERROR);
for (const one of errors) console.log(`${one.path.join(".")}: ${one.message}`);
if (errors.length === 0 && document) console.log("valid");
else process.exitCode = 1;
