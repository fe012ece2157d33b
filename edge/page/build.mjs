// Builds the page from its sources and the npm packages that package-lock.json pins.
//
//     node build.mjs OUT          the files that the gateway serves
//     node build.mjs --test OUT   the unit tests, for `node --test OUT`
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const tests = join(here, "../../tests/page");
const testing = process.argv[2] === "--test";
const out = process.argv[testing ? 3 : 2];
const shared = { absWorkingDir: here, bundle: true, format: "esm", target: "es2022", outdir: out, logLevel: "warning", tsconfig: join(here, "tsconfig.json") };

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
if (testing) {
  const entryPoints = readdirSync(tests).filter((name) => name.endsWith(".test.ts"));
  await build({ ...shared, entryPoints: entryPoints.map((name) => join(tests, name)), platform: "node", nodePaths: [join(here, "node_modules")] });
} else {
  const entryPoints = { main: "src/view/main.ts", edge: "src/talk/edge.worker.ts", worklet: "src/audio/worklet.ts" };
  // The bundle of onnxruntime-web without its WebAssembly's loader is smaller, but would fetch that by itself.
  await build({ ...shared, entryPoints, minify: true, legalComments: "linked" });
  for (const name of ["index.html", "style.css"]) copyFileSync(join(here, "src", name), join(out, name));
  const wasm = "ort-wasm-simd-threaded.wasm"; // the smallest that onnxruntime-web has, without WebGPU
  copyFileSync(join(here, "node_modules/onnxruntime-web/dist", wasm), join(out, wasm));
}
