/**
 * Room for acks on a full disk. In WAL mode even a DELETE needs space, so a file of some megabytes is written in advance and deleted on the first
 * "disk full". While it is missing, in any process, nothing new is taken; it is written again as soon as there is room.
 */
import { closeSync, constants, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

const mebibyte = 2 ** 20
const lookEveryMs = 5

export class Reserve {
  readonly #path: string
  /** As much as the write-ahead log may hold between two checkpoints, so that one checkpoint always fits in. */
  readonly bytes: number

  #lookedMs = Number.NEGATIVE_INFINITY
  #wasThere = false

  constructor(databasePath: string) {
    this.#path = `${databasePath}-reserve`
    const { blocks, bsize } = statfsSync(dirname(databasePath))
    this.bytes = blocks * bsize < 256 * mebibyte ? mebibyte : 4 * mebibyte
  }

  /**
   * Whether it is there, or was at the last look: asked before every publish, and a look at the file costs as much as a small write. So after another process
   * used it up, one transaction may still go in.
   */
  get isLikelyThere(): boolean {
    this.#wasThere ||= this.isThere
    return this.#wasThere
  }

  /** For the next time that somebody asks whether it is there. Looks now and then only. */
  lookAgain(): void {
    const nowMs = performance.now()
    if (nowMs - this.#lookedMs < lookEveryMs) return
    this.#lookedMs = nowMs
    this.#wasThere = this.isThere
  }

  get isThere(): boolean {
    return (statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0) >= mebibyte
  }

  free(): void {
    this.#wasThere = false
    rmSync(this.#path, { force: true })
  }

  /** False: there is no room for it. */
  create(): boolean {
    if (this.isThere) return true
    this.free()
    let descriptor: number
    try {
      descriptor = openSync(this.#path, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | (constants.O_NOFOLLOW ?? 0), 0o600)
    } catch {
      // Another process of ours made it in between, or there is no room for a name.
      return this.isThere
    }
    try {
      // Written, not only sized: a sparse file reserves nothing.
      const block = Buffer.alloc(mebibyte, 0x2e)
      for (let written = 0; written < this.bytes; ) written += writeSync(descriptor, block, 0, Math.min(block.length, this.bytes - written))
      fsyncSync(descriptor)
      return true
    } catch {
      this.free()
      return false
    } finally {
      closeSync(descriptor)
    }
  }
}
