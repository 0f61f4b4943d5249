import type { ChordPart, ResultBackend } from '../backend.js'
import { JsonText } from '../protocol/json-text.js'
import { isReady, type ResultMeta, type ResultTuple } from '../protocol/result.js'
import { decodeJson } from '../serializers/json.js'
import type { ContinuerStore } from './continue/continuer.js'

/** What a workflow that runs where it is called knows of its tasks, while it runs. */
export class EagerStore implements ContinuerStore {
  readonly supports: ResultBackend['supports'] = { push: false, persistent: false, durableRevoke: false, chords: true, results: true }
  readonly #metas = new Map<string, ResultMeta>()
  readonly #chords = new Map<string, { size: number; readonly parts: Map<string, ChordPart> }>()
  readonly #groups = new Map<string, ResultTuple>()

  /** As its reader wants it: no JSON. */
  get(taskId: string): ResultMeta | undefined {
    return this.#metas.get(taskId)
  }

  async store(meta: ResultMeta): Promise<boolean> {
    const before = this.#metas.get(meta.taskId)
    if (before !== undefined && isReady(before.status)) return false
    this.#metas.set(meta.taskId, meta.result instanceof JsonText ? { ...meta, result: decodeJson(meta.result.text) } : meta)
    return true
  }

  async startChord(groupId: string, { size }: { readonly size: number }): Promise<void> {
    this.#chords.set(groupId, { size, parts: new Map() })
  }

  async growChord(groupId: string, taskIds: readonly string[]): Promise<void> {
    const chord = this.#chords.get(groupId)
    if (chord !== undefined) chord.size += taskIds.length
  }

  async completeChordPart(groupId: string, part: ChordPart): Promise<'waiting' | readonly ChordPart[]> {
    const chord = this.#chords.get(groupId)
    if (chord === undefined) return 'waiting'
    chord.parts.set(`${part.taskId}:${part.index}`, part)
    if (chord.parts.size < chord.size) return 'waiting'
    return [...chord.parts.values()].sort((a, b) => (a.index ?? Number.POSITIVE_INFINITY) - (b.index ?? Number.POSITIVE_INFINITY))
  }

  /** No message is unreadable to the process that has just written it. */
  async chordBody(): Promise<undefined> {}

  async endChord(groupId: string): Promise<void> {
    this.#chords.delete(groupId)
  }

  async saveGroup(group: ResultTuple): Promise<void> {
    this.#groups.set(group[0][0], group)
  }

  async group(groupId: string): Promise<ResultTuple | undefined> {
    return this.#groups.get(groupId)
  }
}
