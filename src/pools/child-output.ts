import { writeSync } from 'node:fs'
import { childWritesFd } from './child-frames.js'
import { endProcessGroup } from './parent-watchdog.js'

/** A child's way to its worker. What was written is seen by the worker, even if the process is killed the next moment. */
export class ChildOutput {
  #held: Buffer[] = []

  /** Returns when the frame, and all that was held before it, is in the pipe. */
  write(frame: Buffer): void {
    if (this.#held.length === 0) {
      writeAll(frame)
      return
    }
    this.#held.push(frame)
    this.flush()
  }

  /** Goes out with the next frame. Whoever holds one sees to it that this is soon. */
  hold(frame: Buffer): void {
    this.#held.push(frame)
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
