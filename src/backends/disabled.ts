import type { BackendSupports, ResultBackend } from '../backend.js'
import { ResultsDisabledError } from '../errors.js'
import type { ResultMeta } from '../protocol/result.js'
import { NoChords } from './no-chords.js'

/** No results are kept. Storing is fine and does nothing; whoever asks for a result is told why there is none. */
export class DisabledBackend extends NoChords implements ResultBackend {
  readonly name = 'disabled'
  readonly supports: BackendSupports = { push: false, persistent: false, durableRevoke: false, chords: false, results: false }

  async store(): Promise<boolean> {
    return true
  }

  async get(): Promise<ResultMeta | undefined> {
    throw new ResultsDisabledError()
  }

  async getMany(): Promise<ReadonlyMap<string, ResultMeta>> {
    throw new ResultsDisabledError()
  }

  wait(): AsyncIterable<ResultMeta> {
    return { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new ResultsDisabledError()) }) }
  }

  async forget(): Promise<void> {}

  async revoke(): Promise<void> {}

  async revoked(): Promise<ReadonlySet<string>> {
    return new Set()
  }

  async cleanup(): Promise<number> {
    return 0
  }

  async close(): Promise<void> {}
}
