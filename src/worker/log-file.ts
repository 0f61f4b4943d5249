import { closeSync, fstatSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** How long a line may still go to a file that was renamed. */
const checkMs = 1_000

/** A file that lines are added to at once, by any number of processes. When it is renamed or removed, as by logrotate, lines go to a new one of its name. */
export class LogFile {
  readonly #path: string
  #fd: number
  #checkedMs = performance.now()

  /** Makes the folder, too. Throws what the system says. */
  constructor(path: string) {
    this.#path = path
    this.#fd = opened(path)
  }

  /** For the standard output of another process. */
  get fd(): number {
    return this.#fd
  }

  write(line: string): void {
    const nowMs = performance.now()
    if (nowMs - this.#checkedMs >= checkMs) {
      this.#checkedMs = nowMs
      if (!this.#isThere()) {
        closeSync(this.#fd)
        this.#fd = opened(this.#path)
      }
    }
    writeSync(this.#fd, line)
  }

  close(): void {
    closeSync(this.#fd)
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
