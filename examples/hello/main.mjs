// npm start: a worker in one process, a program that sends work in another. `npm start -- --keep` keeps the worker up.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const jiti = fileURLToPath(new URL('../../node_modules/jiti/lib/jiti-cli.mjs', import.meta.url))
const keep = process.argv.includes('--keep')

const worker = spawn(
  process.execPath,
  [cli, '-A', './tasks.ts', 'worker', '--concurrency', '2', '--loglevel', 'warning', '--log-format', 'human'],
  {
    cwd: here,
    stdio: ['ignore', 'inherit', 'pipe'],
  },
)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => worker.kill('SIGTERM'))

await new Promise((resolve, reject) => {
  worker.stderr.on('data', (text) => {
    process.stderr.write(text)
    if (String(text).includes('ready.')) resolve()
  })
  worker.once('exit', (code) => reject(new Error(`the worker ended at its start with exit code ${code}`)))
  worker.once('error', reject)
})

const sender = spawn(process.execPath, [jiti, './send.ts'], { cwd: here, stdio: 'inherit' })
const [code] = await once(sender, 'exit')

if (keep) {
  console.log(
    '\nThe worker stays up (--keep). In another terminal, in examples/hello:\n\n  npx celeriac -A ./tasks.ts call hello.add 20 22 --wait\n\nCtrl-C ends it.',
  )
  await once(worker, 'exit')
} else {
  worker.kill('SIGTERM')
  if (worker.exitCode === null) await once(worker, 'exit')
}
process.exitCode = code ?? 1
