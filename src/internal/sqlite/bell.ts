/**
 * Tells other processes that something changed: a file beside the database is touched, and `fs.watch` wakes whoever watches it.
 * A ring says only "look": what changed is in the database. Rings that follow each other within a millisecond are one.
 */
import { closeSync, constants, type FSWatcher, futimesSync, openSync, watch } from 'node:fs'
import { preparePrivateFile } from './file-safety.js'

const coalesceMs = 1

export class Bell {
  readonly #path: string
  readonly #descriptor: number
  #watcher: FSWatcher | undefined
  #lastRungMs = Number.NEGATIVE_INFINITY
  #trailing: NodeJS.Timeout | undefined
  #closed = false

  constructor(path: string) {
    preparePrivateFile(path)
    this.#path = path
    this.#descriptor = openSync(path, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0))
  }

  ring(): void {
    if (this.#closed || this.#trailing !== undefined) return
    const nowMs = performance.now()
    if (nowMs - this.#lastRungMs >= coalesceMs) this.#touch(nowMs)
    else {
      // Keeps the process alive for this millisecond: a ring that was due is not dropped at exit.
      this.#trailing = setTimeout(() => {
        this.#trailing = undefined
        this.#touch(performance.now())
      }, coalesceMs)
    }
  }

  /** Calls back after each ring of any process, this one too, and keeps the process alive. False: this machine has no watches left. */
  watch(onRing: () => void): boolean {
    try {
      this.#watcher = watch(this.#path, { persistent: true }, onRing)
      // A watch that breaks later leaves the safety poll.
      this.#watcher.on('error', () => this.unwatch())
      return true
    } catch {
      return false
    }
  }

  unwatch(): void {
    this.#watcher?.close()
    this.#watcher = undefined
  }

  close(): void {
    if (this.#closed) return
    if (this.#trailing !== undefined) {
      clearTimeout(this.#trailing)
      this.#touch(performance.now())
    }
    this.#closed = true
    this.unwatch()
    closeSync(this.#descriptor)
  }

  #touch(nowMs: number): void {
    if (this.#closed) return
    this.#lastRungMs = nowMs
    const seconds = Date.now() / 1000
    futimesSync(this.#descriptor, seconds, seconds)
  }
}
