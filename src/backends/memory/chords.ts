/** Chords and groups of one memory store. */
import { type ChordCounters, type ChordPart, chordClaimSeconds, type GroupStorage } from '../../backend.js'
import type { Clock } from '../../internal/clock.js'
import { JsonText } from '../../protocol/json-text.js'
import { isResultTuple, type ResultTuple } from '../../protocol/result.js'
import { decodeJson, encodeJson } from '../../serializers/json.js'

interface Chord {
  /** Undefined: parts have come, but nobody has said how many there will be. */
  size: number | undefined
  body: JsonText | undefined
  readonly grownBy: Set<string>
  /** By `keyOf`. */
  readonly parts: Map<string, ChordPart>
  closer: { readonly key: string; readonly untilMs: number } | undefined
  hasEnded: boolean
  expiresAtMs: number
}

interface Expiry {
  readonly expiresSeconds: number | null
}

export class MemoryChords implements ChordCounters, GroupStorage {
  readonly #clock: Clock
  readonly #chords = new Map<string, Chord>()
  /** As text, as every other backend keeps them. */
  readonly #groups = new Map<string, { readonly text: string; readonly expiresAtMs: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async startChord(
    groupId: string,
    { size, body, expiresSeconds }: Expiry & { readonly size: number; readonly body?: JsonText | undefined },
  ): Promise<void> {
    const chord = this.#touch(groupId, expiresSeconds)
    chord.size = size
    if (!chord.hasEnded) chord.body = body
  }

  async chordBody(groupId: string): Promise<JsonText | undefined> {
    return this.#live(groupId)?.body
  }

  async growChord(groupId: string, taskIds: readonly string[], { expiresSeconds }: Expiry): Promise<void> {
    const chord = this.#touch(groupId, expiresSeconds)
    for (const taskId of taskIds) chord.grownBy.add(taskId)
  }

  async completeChordPart(
    groupId: string,
    part: ChordPart,
    { size, expiresSeconds }: Expiry & { readonly size?: number | undefined },
  ): Promise<'waiting' | 'lost' | readonly ChordPart[]> {
    const known = this.#live(groupId)
    // Also one whose loss was told: it has ended, though nobody knows its size.
    if (known?.hasEnded === true) return 'waiting'
    if (size !== undefined && known?.size === undefined) return 'lost'
    const chord = this.#touch(groupId, expiresSeconds)
    const key = keyOf(part)
    const isNew = !chord.parts.has(key)
    if (isNew) chord.parts.set(key, { ...part, result: new JsonText(encodeJson(part.result, 'result')) })
    if (chord.size === undefined || chord.parts.size < chord.size + chord.grownBy.size) return 'waiting'
    const nowMs = this.#clock.now()
    if (!isNew && chord.closer !== undefined && chord.closer.key !== key && chord.closer.untilMs > nowMs) return 'waiting'
    chord.closer = { key, untilMs: nowMs + chordClaimSeconds * 1000 }
    return [...chord.parts.values()].sort(byIndex)
  }

  async endChord(groupId: string, { expiresSeconds }: Expiry): Promise<void> {
    const chord = this.#touch(groupId, expiresSeconds)
    chord.hasEnded = true
    chord.body = undefined
    chord.parts.clear()
    chord.grownBy.clear()
  }

  async saveGroup(group: ResultTuple, { expiresSeconds }: Expiry): Promise<void> {
    this.#groups.set(group[0][0], { text: JSON.stringify(group), expiresAtMs: this.#expiresAtMs(expiresSeconds) })
  }

  async group(groupId: string): Promise<ResultTuple | undefined> {
    const saved = this.#groups.get(groupId)
    if (saved === undefined || saved.expiresAtMs <= this.#clock.now()) return undefined
    const tuple = decodeJson(saved.text)
    return isResultTuple(tuple) ? tuple : undefined
  }

  async forgetGroup(groupId: string): Promise<boolean> {
    const wasThere = (await this.group(groupId)) !== undefined
    this.#groups.delete(groupId)
    return wasThere
  }

  removeExpired(nowMs: number): void {
    for (const [groupId, { expiresAtMs }] of this.#chords) if (expiresAtMs <= nowMs) this.#chords.delete(groupId)
    for (const [groupId, { expiresAtMs }] of this.#groups) if (expiresAtMs <= nowMs) this.#groups.delete(groupId)
  }

  /** The chord, new if there is none, which lives on from now. */
  #touch(groupId: string, expiresSeconds: number | null): Chord {
    const expiresAtMs = this.#expiresAtMs(expiresSeconds)
    const known = this.#live(groupId)
    if (known !== undefined) {
      known.expiresAtMs = expiresAtMs
      return known
    }
    const chord: Chord = {
      size: undefined,
      body: undefined,
      grownBy: new Set(),
      parts: new Map(),
      closer: undefined,
      hasEnded: false,
      expiresAtMs,
    }
    this.#chords.set(groupId, chord)
    return chord
  }

  #live(groupId: string): Chord | undefined {
    const chord = this.#chords.get(groupId)
    return chord === undefined || chord.expiresAtMs <= this.#clock.now() ? undefined : chord
  }

  #expiresAtMs(expiresSeconds: number | null): number {
    return expiresSeconds === null ? Number.POSITIVE_INFINITY : this.#clock.now() + expiresSeconds * 1000
  }
}

function keyOf({ taskId, index }: ChordPart): string {
  return `${taskId}:${index}`
}

function byIndex(a: ChordPart, b: ChordPart): number {
  if (a.index !== b.index) return (a.index ?? Number.POSITIVE_INFINITY) - (b.index ?? Number.POSITIVE_INFINITY)
  return a.taskId < b.taskId ? -1 : 1
}
