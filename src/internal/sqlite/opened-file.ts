import { statSync } from 'node:fs'

/** A look costs as much as a small write. */
const lookEveryMs = 20

/**
 * Whether the file that is open still is the one of its name. Once it is removed (`rm -r .celeriac`), or another was put in its place, nobody else can ever see
 * what is written to it.
 */
export class OpenedFile {
  readonly #path: string
  readonly #id: string
  #lookedMs = performance.now()

  constructor(path: string) {
    this.#path = path
    this.#id = idOf(path) ?? ''
  }

  /** Looks now and then: false may be true by now. */
  get isGone(): boolean {
    return performance.now() - this.#lookedMs >= lookEveryMs && this.isGoneNow
  }

  get isGoneNow(): boolean {
    this.#lookedMs = performance.now()
    try {
      return idOf(this.#path) !== this.#id
    } catch {
      // Nobody may look there any more: that says nothing of the file.
      return false
    }
  }
}

/** Undefined: there is none. */
function idOf(path: string): string | undefined {
  const stats = statSync(path, { throwIfNoEntry: false, bigint: true })
  return stats === undefined ? undefined : `${stats.dev} ${stats.ino}`
}
