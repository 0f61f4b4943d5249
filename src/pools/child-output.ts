import { writeSync } from 'node:fs'
import { childWritesFd, type FromChild, foreignIn, type Message } from './child-frames.js'
import type { ChildOutput } from './child-runs.js'
import { encodeFrame } from './frames.js'
import { endProcessGroup } from './parent-watchdog.js'

/** A child process's way to its worker: what was written lies in the pipe. */
export class PipeOutput implements ChildOutput {
  #held: Buffer[] = []

  /** @throws TooLargeError */
  write({ head, body }: Message<FromChild>): void {
    const frame = encodeFrame(head, body, { foreign: foreignIn(head) })
    if (this.#held.length === 0) {
      writeAll(frame)
      return
    }
    this.#held.push(frame)
    this.flush()
  }

  /** @throws TooLargeError */
  hold({ head, body }: Message<FromChild>): void {
    this.#held.push(encodeFrame(head, body, { foreign: foreignIn(head) }))
  }

  flush(): void {
    if (this.#held.length === 0) return
    const frames = Buffer.concat(this.#held)
    this.#held = []
    writeAll(frames)
  }
}

function writeAll(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(childWritesFd, bytes, at)
    } catch (error) {
      // The pipe blocks by itself on all systems known; where it does not, waiting a moment is the same.
      if (error instanceof Error && 'code' in error && error.code === 'EAGAIN')
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
      else endProcessGroup()
    }
  }
}
