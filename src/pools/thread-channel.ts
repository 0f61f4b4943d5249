/** What runs in a thread of the `threads` pool: it serves the runs that its worker sends. See child-frames.ts for what they say. */
import { getHeapStatistics } from 'node:v8'
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { bodyFromPort, type FromChild, type Message, type PortMessage, type ThreadSetup, type ToChild, toPort } from './child-frames.js'
import { type ChildApp, type ChildOutput, ChildRuns, describe } from './child-runs.js'

/**
 * Makes this thread a child of a `ThreadPool`. To be called first thing in the thread's script, before the user's code is loaded: `boot` loads it.
 *
 * - `boot` throws: the error goes to the pool, which backs off and in the end rejects its `start()`; this thread exits with 1.
 * - An uncaught error at any time: it goes to the pool as the reason why the running tasks are lost; this thread exits with 70.
 *
 * `process.exit()` ends this thread, and no other.
 */
export async function serveThread({ boot }: { boot(): Promise<ChildApp> }): Promise<void> {
  const { port, concurrency, reportMemory } = workerData as ThreadSetup // what ThreadLink gave
  const output = new PortOutput(port)
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
  const tell = ({ head, body }: PortMessage<ToChild>): void => runs.onMessage(head, bodyFromPort(body))
  const takeAll = (): void => {
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) tell(next.message)
  }
  const runs = new ChildRuns({ app, output, concurrency, memory: reportMemory ? heapBytes : undefined, takeAll })
  port.on('message', (message: PortMessage<ToChild>) => {
    tell(message)
    runs.startNext()
  })
  output.write({ head: { t: 'ready' } })
}

/** What is posted is in the worker's queue, even if this thread is ended the next moment. */
class PortOutput implements ChildOutput {
  readonly #port: MessagePort

  constructor(port: MessagePort) {
    this.#port = port
  }

  write({ head, body }: Message<FromChild>): void {
    const { pair, transfer } = toPort(head, body)
    this.#port.postMessage(pair, transfer)
  }

  hold(message: Message<FromChild>): void {
    this.write(message)
  }

  flush(): void {}
}

/** The process's memory is that of all threads; this is the thread's own, with its buffers. */
function heapBytes(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics()
  return heap + external
}
