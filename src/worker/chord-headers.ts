import { embedOf, isOnlyPart } from '../app/continue/embed.js'
import type { Continuations } from '../pool.js'
import type { Embed } from '../protocol/task-body.js'

/** What is after header tasks of chords, of which there may be very many: all of one chord bring the same text from their processes, and it is read once. */
export class ChordHeaders {
  #last: { readonly continuations: Continuations; readonly embed: Embed | undefined } | undefined

  /** Undefined where a success is followed by more than its part in a chord. */
  embedOf(continuations: Continuations): Embed | undefined {
    if (this.#last?.continuations !== continuations) {
      const embed = embedOf(continuations)
      this.#last = { continuations, embed: isOnlyPart(embed) ? embed : undefined }
    }
    return this.#last.embed
  }
}
