/** Chords and groups in the embedded database. */
import { type ChordCounters, type ChordPart, chordClaimSeconds, type GroupStorage } from '../../backend.js'
import type { Clock } from '../../internal/clock.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import { JsonText } from '../../protocol/json-text.js'
import { isResultTuple, type ResultTuple } from '../../protocol/result.js'
import { decodeJson, encodeJson } from '../../serializers/json.js'

// `size` is null as long as nobody has said how many parts there will be, `parts` and `grown` count rows. `place` is the index, or behind all others.
export const chordSchema = `CREATE TABLE chords (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     group_id TEXT NOT NULL UNIQUE,
     size INTEGER,
     grown INTEGER NOT NULL DEFAULT 0,
     parts INTEGER NOT NULL DEFAULT 0,
     closer TEXT,
     claimed_until INTEGER NOT NULL DEFAULT 0,
     ended INTEGER NOT NULL DEFAULT 0,
     expires INTEGER
   );
   CREATE INDEX chords_by_expiry ON chords (expires);
   CREATE TABLE chord_parts (
     chord INTEGER NOT NULL,
     task_id TEXT NOT NULL,
     place INTEGER NOT NULL,
     status TEXT NOT NULL,
     result TEXT NOT NULL,
     PRIMARY KEY (chord, place, task_id)
   ) WITHOUT ROWID;
   CREATE TABLE chord_growth (chord INTEGER NOT NULL, task_id TEXT NOT NULL, PRIMARY KEY (chord, task_id)) WITHOUT ROWID;
   CREATE TABLE groups (group_id TEXT PRIMARY KEY, tuple TEXT NOT NULL, expires INTEGER) WITHOUT ROWID;
   CREATE INDEX groups_by_expiry ON groups (expires)`

/** `body` is the signature of the body, until the chord has ended. */
export const chordBodySchema = 'ALTER TABLE chords ADD COLUMN body TEXT'

const noPlace = Number.MAX_SAFE_INTEGER
// No transaction is long.
const deletedAtOnce = 5_000
const chordsRemovedAtOnce = 100
/** How much of its life a chord may lose before a part renews it: not every part pays for that. */
const renewAfter = 0.1

interface Chord {
  readonly id: number
  readonly size: number | null
  readonly grown: number
  readonly parts: number
  readonly closer: string | null
  readonly claimed_until: number
  readonly ended: number
  readonly expires: number | null
}

interface Expiry {
  readonly expiresSeconds: number | null
}

export class SqliteChords implements ChordCounters, GroupStorage {
  readonly #database: SqliteDatabase
  readonly #clock: Clock

  constructor(database: SqliteDatabase, clock: Clock) {
    this.#database = database
    this.#clock = clock
  }

  async startChord(
    groupId: string,
    { size, body, expiresSeconds }: Expiry & { readonly size: number; readonly body?: JsonText | undefined },
  ): Promise<void> {
    await this.#database.write((sql) => {
      const { id, ended } = this.#touch(sql, groupId, expiresSeconds)
      sql.run('UPDATE chords SET size = ?, body = ? WHERE id = ?', [size, ended === 1 ? null : (body?.text ?? null), id])
    })
  }

  async chordBody(groupId: string): Promise<JsonText | undefined> {
    const row = await this.#database.read((sql) =>
      sql.first<{ body: string | null }>('SELECT body FROM chords WHERE group_id = ? AND coalesce(expires > ?, 1)', [
        groupId,
        this.#clock.now(),
      ]),
    )
    return row?.body === undefined || row.body === null ? undefined : new JsonText(row.body)
  }

  async growChord(groupId: string, taskIds: readonly string[], { expiresSeconds }: Expiry): Promise<void> {
    await this.#database.write((sql) => {
      const { id } = this.#touch(sql, groupId, expiresSeconds)
      let grown = 0
      for (const taskId of taskIds) grown += sql.run('INSERT OR IGNORE INTO chord_growth (chord, task_id) VALUES (?, ?)', [id, taskId])
      sql.run('UPDATE chords SET grown = grown + ? WHERE id = ?', [grown, id])
    })
  }

  async completeChordPart(
    groupId: string,
    part: ChordPart,
    { size, expiresSeconds }: Expiry & { readonly size?: number | undefined },
  ): Promise<'waiting' | 'lost' | readonly ChordPart[]> {
    const result = encodeJson(part.result, 'result')
    const step = await this.#database.write((sql) => this.#complete(sql, groupId, { ...part, result }, size, expiresSeconds), {
      essential: true,
    })
    if (typeof step === 'string') return step
    const rows = await this.#database.read((sql) =>
      sql.all<{ task_id: string; place: number; status: string; result: string }>(
        'SELECT task_id, place, status, result FROM chord_parts WHERE chord = ? ORDER BY place, task_id',
        [step.id],
      ),
    )
    // It has ended since.
    if (rows.length < step.parts) return 'waiting'
    return rows.map((row) => ({
      taskId: row.task_id,
      index: row.place === noPlace ? null : row.place,
      status: row.status,
      result: new JsonText(row.result),
    }))
  }

  async endChord(groupId: string, { expiresSeconds }: Expiry): Promise<void> {
    const id = await this.#database.write(
      (sql) => {
        const chord = this.#touch(sql, groupId, expiresSeconds)
        sql.run('UPDATE chords SET ended = 1, parts = 0, grown = 0, body = NULL WHERE id = ?', [chord.id])
        return chord.id
      },
      { essential: true },
    )
    await this.#removeParts(id)
  }

  async saveGroup(group: ResultTuple, { expiresSeconds }: Expiry): Promise<void> {
    const values = [group[0][0], JSON.stringify(group), this.#expires(expiresSeconds)]
    await this.#database.write((sql) => sql.run('INSERT OR REPLACE INTO groups (group_id, tuple, expires) VALUES (?, ?, ?)', values))
  }

  async group(groupId: string): Promise<ResultTuple | undefined> {
    const row = await this.#database.read((sql) =>
      sql.first<{ tuple: string }>('SELECT tuple FROM groups WHERE group_id = ? AND coalesce(expires > ?, 1)', [
        groupId,
        this.#clock.now(),
      ]),
    )
    const tuple = row === undefined ? undefined : decodeJson(row.tuple)
    return isResultTuple(tuple) ? tuple : undefined
  }

  async forgetGroup(groupId: string): Promise<boolean> {
    const removed = await this.#database.write((sql) => sql.run('DELETE FROM groups WHERE group_id = ?', [groupId]), { essential: true })
    return removed === 1
  }

  /** Removes some of what has expired; whether that was all. */
  async removeExpired(nowMs: number): Promise<boolean> {
    const expired = await this.#database.write(
      (sql) => {
        sql.run('DELETE FROM groups WHERE expires <= ?', [nowMs])
        return sql.all<{ id: number }>('SELECT id FROM chords WHERE expires <= ? LIMIT ?', [nowMs, chordsRemovedAtOnce])
      },
      { essential: true, last: true },
    )
    for (const { id } of expired) {
      await this.#removeParts(id)
      await this.#database.write((sql) => sql.run('DELETE FROM chords WHERE id = ? AND expires <= ?', [id, nowMs]), { essential: true })
    }
    return expired.length < chordsRemovedAtOnce
  }

  /** The chord whose body is to be published now, or what else is to be said. */
  #complete(
    sql: Sql,
    groupId: string,
    part: ChordPart & { readonly result: string },
    size: number | undefined,
    expiresSeconds: number | null,
  ): 'waiting' | 'lost' | { readonly id: number; readonly parts: number } {
    const known = this.#live(sql, groupId)
    // Also one whose loss was told: it has ended, though nobody knows its size.
    if (known?.ended === 1) return 'waiting'
    if (size !== undefined && (known?.size ?? null) === null) return 'lost'
    const chord = this.#touch(sql, groupId, expiresSeconds)
    const { taskId, index, status, result } = part
    const added = sql.run('INSERT OR IGNORE INTO chord_parts (chord, task_id, place, status, result) VALUES (?, ?, ?, ?, ?)', [
      chord.id,
      taskId,
      index ?? noPlace,
      status,
      result,
    ])
    const parts = chord.parts + added
    if (added === 1) sql.run('UPDATE chords SET parts = ? WHERE id = ?', [parts, chord.id])
    if (chord.size === null || parts < chord.size + chord.grown) return 'waiting'
    const nowMs = this.#clock.now()
    const closer = `${taskId}:${index}`
    const isClaimed = chord.closer !== null && chord.closer !== closer && chord.claimed_until > nowMs
    if (isClaimed && (added === 0 || parts > chord.size + chord.grown)) return 'waiting'
    sql.run('UPDATE chords SET closer = ?, claimed_until = ? WHERE id = ?', [closer, Math.ceil(nowMs + chordClaimSeconds * 1000), chord.id])
    return { id: chord.id, parts }
  }

  async #removeParts(id: number): Promise<void> {
    let removed: number
    do {
      removed = await this.#database.write(
        (sql) =>
          sql.run(
            'DELETE FROM chord_parts WHERE (chord, place, task_id) IN (SELECT chord, place, task_id FROM chord_parts WHERE chord = ? LIMIT ?)',
            [id, deletedAtOnce],
          ),
        { essential: true },
      )
    } while (removed === deletedAtOnce)
    await this.#database.write((sql) => sql.run('DELETE FROM chord_growth WHERE chord = ?', [id]), { essential: true })
  }

  /** The chord, new if there is none, which lives on from now. */
  #touch(sql: Sql, groupId: string, expiresSeconds: number | null): Chord {
    const expires = this.#expires(expiresSeconds)
    const known = this.#live(sql, groupId)
    if (known !== undefined) {
      const isWorn = expires === null || expiresSeconds === null || (known.expires ?? 0) < expires - expiresSeconds * 1000 * renewAfter
      if (isWorn && known.expires !== expires) sql.run('UPDATE chords SET expires = ? WHERE id = ?', [expires, known.id])
      return known
    }
    sql.run('DELETE FROM chord_parts WHERE chord IN (SELECT id FROM chords WHERE group_id = ?)', [groupId])
    sql.run('DELETE FROM chord_growth WHERE chord IN (SELECT id FROM chords WHERE group_id = ?)', [groupId])
    sql.run('DELETE FROM chords WHERE group_id = ?', [groupId])
    sql.run('INSERT INTO chords (group_id, expires) VALUES (?, ?)', [groupId, expires])
    const fresh = this.#live(sql, groupId)
    if (fresh === undefined) throw new TypeError(`the chord ${groupId} expired when it was made`)
    return fresh
  }

  #live(sql: Sql, groupId: string): Chord | undefined {
    return sql.first<Chord>(
      'SELECT id, size, grown, parts, closer, claimed_until, ended, expires FROM chords WHERE group_id = ? AND coalesce(expires > ?, 1)',
      [groupId, this.#clock.now()],
    )
  }

  #expires(expiresSeconds: number | null): number | null {
    return expiresSeconds === null ? null : Math.ceil(this.#clock.now() + expiresSeconds * 1000)
  }
}
