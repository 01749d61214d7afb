// Speed of llama.cpp on the prompt of models/examples/decode.rs, as one line of JSON:
//
//   npm install node-llama-cpp @fugood/llama.node
//   node llama.mjs MODEL.gguf THREADS TOKENS [node-llama-cpp | @fugood/llama.node]
//
// node-llama-cpp picks a build for the processor (AVX2 and better); the prebuilt @fugood/llama.node is compiled for any x86-64.
// `system` says which instructions the build uses. Packages are looked for from the current folder.
import { createRequire } from 'node:module';

const [, , model, threads, tokens, name = 'node-llama-cpp'] = process.argv;
const load = (name) => import(createRequire(process.cwd() + '/').resolve(name));

const question = 'Here is what I know so far. The harbour town lies between two hills, and every morning the boats leave before ' +
  'the sun is up. My grandfather was the keeper of the lighthouse for thirty years, and he wrote down each ship that passed, its flag, ' +
  'its cargo and the weather of that day. Last week I found the seven books that he filled, in a chest under the stairs, and nobody in ' +
  'the family had read them since he died. Please tell me a long story, in many sentences, about one of the ships in these books, where ' +
  'it came from, what it carried, and what happened to its crew.';
const prompt = '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' +
  `<|im_start|>user\n${question}<|im_end|>\n<|im_start|>assistant\n`;

let system, read, written = 0, first, start, cpu;
const begin = () => { cpu = process.cpuUsage(); start = performance.now(); };
const token = () => { first ??= performance.now(); written += 1; };

if (name === 'node-llama-cpp') {
  const { getLlama } = await load(name);
  const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error', maxThreads: +threads });
  system = llama.systemInfo;
  const loaded = await llama.loadModel({ modelPath: model });
  const context = await loaded.createContext({ contextSize: 2048, batchSize: 512, threads: +threads });
  const ids = loaded.tokenize(prompt, true);
  read = ids.length;
  begin();
  for await (const _ of context.getSequence().evaluate(ids, { temperature: 0, yieldEogToken: true })) {
    token();
    if (written >= +tokens) break;
  }
} else {
  const { loadModel } = (await load(name)).default;
  const context = await loadModel({ model, n_ctx: 2048, n_threads: +threads, use_mmap: true });
  system = context.getSystemInfo();
  read = (await context.tokenize(prompt)).tokens.length;
  begin();
  await context.completion({ prompt, n_predict: +tokens, temperature: 0, top_k: 1, ignore_eos: true }, token);
}
const end = performance.now();
const used = process.cpuUsage(cpu);
console.log(JSON.stringify({
  engine: name, threads: +threads, prompt_tokens: read, tokens: written,
  prefill_tps: read / (first - start) * 1e3,
  decode_tps: (written - 1) / (end - first) * 1e3,
  cpu_s: (used.user + used.system) / 1e6,
  system,
}));
process.exit(0);
