// @ts-check
// npm start: a worker in one process, a program that sends it work in another. `npm start -- --keep` keeps the worker up.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const jiti = fileURLToPath(new URL('../../node_modules/jiti/lib/jiti-cli.mjs', import.meta.url))

const worker = spawn(
  process.execPath,
  [cli, '-A', './tasks.ts', 'worker', '--concurrency', '2', '--loglevel', 'warning', '--log-format', 'human'],
  { cwd: here, stdio: ['ignore', 'pipe', 'pipe'] },
)
const workerEnded = once(worker, 'close')
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => worker.kill('SIGTERM'))

try {
  await workerIsReady()
  // Node 20 cannot run TypeScript by itself; jiti can.
  const sender = spawn(process.execPath, [jiti, './send.ts'], { cwd: here, stdio: 'inherit' })
  const [code] = await once(sender, 'close')
  process.exitCode = code ?? 1
  if (process.argv.includes('--keep')) {
    console.log('\nThe worker stays up (--keep). Send it more from a second terminal, in this folder:')
    console.log('\n  node dist/cli/main.js --workdir examples/hello call hello.add 20 22 --wait\n\nCtrl-C ends it.')
    await workerEnded
  }
} finally {
  worker.kill('SIGTERM')
  const [code] = await workerEnded
  if (code !== 0) {
    console.error(`the worker ended with exit code ${code}`)
    process.exitCode = 1
  }
}

/** Shows what the worker says, each line marked as its own. Settles when it takes tasks. */
function workerIsReady() {
  return new Promise((resolve, reject) => {
    for (const stream of [worker.stdout, worker.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        process.stderr.write(`worker | ${line}\n`)
        if (line === 'ready.') resolve(undefined)
      })
    }
    workerEnded.then(([code]) => reject(new Error(`the worker ended before it was ready, with exit code ${code}`)), reject)
  })
}
