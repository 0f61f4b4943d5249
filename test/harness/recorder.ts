/** The record of runs: one line when a task's function starts, one when it ends, each written by the running process itself, whatever becomes of broker and results. */
import { closeSync, openSync, readSync } from 'node:fs'
import { until } from '../conformance/wait.js'

export interface RunLine {
  readonly what: 'start' | 'end'
  readonly id: string
  readonly task: string
  /** Retries made before this run. */
  readonly attempt: number
  readonly redelivered: boolean
  /** Node name of the worker. */
  readonly worker: string
  /** Of the process that runs the task. */
  readonly pid: number
  /** Monotonic clock of the machine, ms. */
  readonly atMs: number
}

export class Recorder {
  readonly #path: string
  readonly #lines: RunLine[] = []
  #read = 0
  #rest = ''

  constructor(path: string) {
    this.#path = path
    closeSync(openSync(path, 'a'))
  }

  /** All lines so far. */
  lines(): readonly RunLine[] {
    const file = openSync(this.#path, 'r')
    try {
      const chunk = Buffer.alloc(64 * 1024)
      for (;;) {
        const bytes = readSync(file, chunk, 0, chunk.length, this.#read)
        if (bytes === 0) return this.#lines
        this.#read += bytes
        const texts = (this.#rest + chunk.toString('utf8', 0, bytes)).split('\n')
        this.#rest = texts.pop() ?? ''
        for (const text of texts) this.#lines.push(JSON.parse(text))
      }
    } finally {
      closeSync(file)
    }
  }

  starts(id?: string): readonly RunLine[] {
    return this.lines().filter((line) => line.what === 'start' && (id === undefined || line.id === id))
  }

  ends(id?: string): readonly RunLine[] {
    return this.lines().filter((line) => line.what === 'end' && (id === undefined || line.id === id))
  }

  /** The runs that have started and not ended, by process. */
  running(): readonly RunLine[] {
    const open = new Map<string, RunLine>()
    for (const line of this.lines()) {
      const key = `${line.id} ${line.pid}`
      if (line.what === 'start') open.set(key, line)
      else open.delete(key)
    }
    return [...open.values()]
  }

  /** The nth start, of that task or of any. */
  async started(count = 1, id?: string, ms?: number): Promise<RunLine> {
    await until(() => this.starts(id).length >= count, `start ${count} of ${id ?? 'any task'}`, ms)
    const line = this.starts(id)[count - 1]
    if (line === undefined) throw new Error('unreachable')
    return line
  }

  async ended(count = 1, id?: string, ms?: number): Promise<void> {
    await until(() => this.ends(id).length >= count, `end ${count} of ${id ?? 'any task'}`, ms)
  }
}

/** The clock of the record. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
