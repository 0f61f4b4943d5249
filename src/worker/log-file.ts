import { closeSync, fstatSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** How long a line may still go to a file that was renamed. */
const checkMs = 1_000

/** A file that lines are added to at once, by any number of processes. When it is renamed or removed, as by logrotate, lines go to a new one of its name. */
export class LogFile {
  readonly #path: string
  #fd: number
  #checkedMs = performance.now()
  #isTroubled = false

  /** Makes the folder, too. Throws what the system says. */
  constructor(path: string) {
    this.#path = path
    this.#fd = opened(path)
  }

  /** For the standard output of another process. */
  get fd(): number {
    return this.#fd
  }

  /** Never throws: whoever tells of something goes on, also where there is no room for a line. The first one that is lost is told on stderr. */
  write(line: string): void {
    try {
      this.#reopenIfGone()
      writeSync(this.#fd, line)
      this.#isTroubled = false
    } catch (error) {
      if (!this.#isTroubled) process.stderr.write(`lines are lost, ${this.#path} cannot be written: ${String(error)}\n`)
      this.#isTroubled = true
    }
  }

  close(): void {
    closeSync(this.#fd)
  }

  #reopenIfGone(): void {
    const nowMs = performance.now()
    if (nowMs - this.#checkedMs < checkMs) return
    this.#checkedMs = nowMs
    if (this.#isThere()) return
    const fd = opened(this.#path)
    closeSync(this.#fd)
    this.#fd = fd
  }

  #isThere(): boolean {
    const named = statSync(this.#path, { throwIfNoEntry: false })
    const own = fstatSync(this.#fd)
    return named !== undefined && named.ino === own.ino && named.dev === own.dev
  }
}

function opened(path: string): number {
  mkdirSync(dirname(path), { recursive: true })
  return openSync(path, 'a', 0o640)
}
