// Builds ../dist/page.html: one file, script and style inside, no other host.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

process.chdir(import.meta.dirname);

// What the page is made of. tests/view/test_built.py computes the same digest.
const sources = [
  "build.mjs", "package-lock.json", "package.json", "page.html", "tsconfig.json",
  ...readdirSync("src").sort().map((name) => `src/${name}`),
];
const digest = createHash("sha256");
for (const name of sources) digest.update(`${name}\0`).update(readFileSync(name)).update("\0");

async function bundled(entry) {
  const result = await build({
    entryPoints: [entry], bundle: true, minify: true, write: false, target: "es2022",
    format: "iife", legalComments: "inline", charset: "ascii",
  });
  return result.outputFiles[0].text.trim();
}

const sha256 = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const script = await bundled("src/main.ts");
const style = await bundled("src/style.css");
if (/<\/script|<!--/i.test(script) || /<\/style/i.test(style)) throw new Error("would end its tag");

const values = {
  SCRIPT: script, STYLE: style, SOURCES: digest.digest("hex"),
  SCRIPT_HASH: sha256(script), STYLE_HASH: sha256(style),
};
const page = readFileSync("page.html", "utf8").replace(/\{\{(\w+)\}\}/g, (_, name) => values[name]);
mkdirSync("../dist", { recursive: true });
writeFileSync("../dist/page.html", page);
console.log(`dist/page.html: ${page.length} bytes`);
