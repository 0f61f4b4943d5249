import type { ChordCounters, ChordPart, GroupStorage } from '../backend.js'
import { NotSupportedError } from '../errors.js'
import type { JsonText } from '../protocol/json-text.js'
import type { ResultTuple } from '../protocol/result.js'

/** What a backend without `supports.chords` says of chords and groups. */
export abstract class NoChords implements ChordCounters, GroupStorage {
  abstract readonly name: string

  async startChord(): Promise<void> {
    throw this.#refusal('a chord')
  }

  async growChord(): Promise<void> {
    throw this.#refusal('a chord')
  }

  async completeChordPart(): Promise<'waiting' | 'lost' | readonly ChordPart[]> {
    throw this.#refusal('a chord')
  }

  async chordBody(): Promise<JsonText | undefined> {
    throw this.#refusal('a chord')
  }

  async endChord(): Promise<void> {
    throw this.#refusal('a chord')
  }

  async saveGroup(): Promise<void> {
    throw this.#refusal('saving a group')
  }

  async group(): Promise<ResultTuple | undefined> {
    throw this.#refusal('restoring a group')
  }

  async forgetGroup(): Promise<boolean> {
    throw this.#refusal('forgetting a saved group')
  }

  #refusal(what: string): NotSupportedError {
    return new NotSupportedError(
      what,
      `the result backend "${this.name}" keeps none. Set backend, for instance to "sqlite://" or "redis://".`,
    )
  }
}
