/** What runs in a child process of the `prefork` pool: it serves the runs that its worker sends. See child-frames.ts for what they say. */
import { readSync } from 'node:fs'
import { Socket } from 'node:net'
import { surviveOutputErrors } from '../internal/output-errors.js'
import { childReadsFd, type ToChild, toChildHead } from './child-frames.js'
import { PipeOutput } from './child-output.js'
import { type ChildApp, ChildRuns, describe } from './child-runs.js'
import { FrameDecoder } from './frames.js'
import { dieWithParent, endProcessGroup } from './parent-watchdog.js'

/**
 * Makes this process a child of a `ProcessPool`. To be called first thing in the child's script, before the user's code is loaded: `boot` loads it.
 *
 * - `boot` throws: the error goes to the pool, which backs off and in the end rejects its `start()`; this process exits with 1.
 * - An uncaught error at any time: it goes to the pool as the reason why the running tasks are lost; this process exits with 70.
 * - The worker is gone: this process and all that it started are killed at once.
 *
 * @throws Error when this process was not started by a ProcessPool.
 */
export async function serveChild({ boot }: { boot(): Promise<ChildApp> }): Promise<void> {
  const setup = readSetup()
  const output = new PipeOutput()
  process.on('exit', () => output.flush())
  if (setup.watchParent) dieWithParent()
  surviveOutputErrors()
  // From here on nothing is known about the state of the process: it reports and ends (the running tasks are lost, the others never started).
  process.on('uncaughtException', (error: unknown) => {
    output.write({ head: { t: 'crashed', error: describe(error) } })
    process.exit(70)
  })
  let app: ChildApp
  try {
    app = await boot()
  } catch (error) {
    output.write({ head: { t: 'bootFailed', error: describe(error) } })
    process.exit(1)
  }
  const memory = setup.reportMemory ? (): number => process.memoryUsage.rss() : undefined
  const runs = new ChildRuns({ app, output, concurrency: setup.concurrency, memory })
  const decoder = new FrameDecoder()
  const input = new Socket({ fd: childReadsFd, readable: true, writable: false })
  input.on('data', (chunk: Buffer) => {
    decoder.push(chunk, (frame) => runs.onMessage(toChildHead(frame), frame.body))
    runs.startNext()
  })
  input.on('end', endProcessGroup)
  input.on('error', endProcessGroup)
  output.write({ head: { t: 'ready' } })
}

/** The worker writes its set-up before anything else, so that it can be read without an event loop: the watchdog is on before user code is. */
function readSetup(): Extract<ToChild, { t: 'setup' }> {
  const size = readExactly(4)
  const frame = Buffer.concat([size, readExactly(size.readUInt32BE(0))])
  let setup: ToChild | undefined
  new FrameDecoder(64 * 1024).push(frame, (decoded) => {
    setup = toChildHead(decoded)
  })
  if (setup?.t !== 'setup') throw new Error('this script is started by the worker, as a child of its process pool')
  return setup
}

function readExactly(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; ) {
    const read = readSync(childReadsFd, bytes, at, length - at, null)
    if (read === 0) process.exit(0) // the worker is gone already
    at += read
  }
  return bytes
}
