// Builds the page from its sources and the npm packages that package-lock.json pins.
//
//     node build.mjs OUT          the files that the gateway serves
//     node build.mjs --test OUT   the unit tests, for `node --test OUT`
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const tests = join(here, "../../tests/page");
const packages = join(here, "node_modules");
const testing = process.argv[2] === "--test";
const out = resolve(process.argv[testing ? 3 : 2]);
const options = {
  absWorkingDir: here,
  bundle: true,
  format: "esm",
  target: "es2022",
  outdir: out,
  logLevel: "warning",
  tsconfig: join(here, "tsconfig.json"),
  nodePaths: [packages],
};

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
if (testing) {
  const entryPoints = readdirSync(tests).filter((name) => name.endsWith(".test.ts"));
  await build({ ...options, entryPoints: entryPoints.map((name) => join(tests, name)), platform: "node" });
} else {
  const entryPoints = { main: "src/view/main.ts", edge: "src/talk/edge.worker.ts", worklet: "src/audio/worklet.ts" };
  await build({ ...options, entryPoints, minify: true, legalComments: "none" });
  for (const name of ["index.html", "style.css"]) copyFileSync(join(here, "src", name), join(out, name));
  // The smallest that onnxruntime-web has, without WebGPU. Compressed alone: every browser takes it so.
  const wasm = "ort-wasm-simd-threaded.wasm";
  const bytes = readFileSync(join(packages, "onnxruntime-web/dist", wasm));
  writeFileSync(join(out, `${wasm}.gz`), gzipSync(bytes, { level: 9 }));
  const notices = ["onnxruntime-web", "@bufbuild/protobuf"].map((name) => {
    const { version, license } = JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8"));
    return `${name} ${version}: ${license}, https://www.npmjs.com/package/${name}\n`;
  });
  writeFileSync(join(out, "notices.txt"), notices.join(""));
}
