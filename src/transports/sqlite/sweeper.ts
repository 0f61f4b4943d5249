import type { Clock, Timer } from '../../internal/clock.js'
import type { SqliteDatabase } from '../../internal/sqlite/database.js'
import type { SqliteLocation } from '../../internal/sqlite/location.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import { leasePatienceMs, OwnerWatch } from './owners.js'
import type { Ownership } from './ownership.js'
import { deleteExpiredMessages, requeueOrphans, settleLimits } from './settle.js'
import { deleteExpiredQueues, removeOwner } from './topology.js'

const longestLookMs = 500

interface SweeperParts {
  readonly database: SqliteDatabase
  readonly location: SqliteLocation
  readonly clock: Clock
  readonly ownership: Ownership
  readonly isClosing: () => boolean
  /** Old dead letters made room for so many. */
  readonly onDropped: (count: number) => void
  readonly onFailed: (error: unknown) => void
}

/** Looks for workers that are gone and gives their messages back; now and then also for what has expired. Each consuming connection does, for all. */
export class Sweeper {
  readonly #parts: SweeperParts
  readonly #watch: OwnerWatch
  #timer: Timer | undefined
  #sweptMs = Number.NEGATIVE_INFINITY

  constructor(parts: SweeperParts) {
    this.#parts = parts
    this.#watch = new OwnerWatch(parts.ownership.identity, { longestGapMs: parts.location.leaseTtlMs / 2 })
  }

  /** Safe twice. */
  start(): void {
    this.#timer ??= this.#lookLater()
  }

  stop(): void {
    this.#timer?.cancel()
  }

  #lookLater(): Timer {
    const { clock, location, isClosing, onFailed } = this.#parts
    return clock.setTimer(Math.min(longestLookMs, location.sweepIntervalMs), () => {
      if (isClosing()) return
      this.#look().then(() => {
        if (!isClosing()) this.#timer = this.#lookLater()
      }, onFailed)
    })
  }

  async #look(): Promise<void> {
    const { database, location, clock, ownership, onDropped } = this.#parts
    const nowMs = clock.monotonic()
    const dead = await database.read((sql) => this.#watch.look(sql, nowMs, ownership.owner))
    const isSweepDue = nowMs - this.#sweptMs >= location.sweepIntervalMs
    if (isSweepDue) this.#sweptMs = nowMs
    if (dead.length === 0 && !(isSweepDue && (await database.read((sql) => hasRubbish(sql, clock.now()))))) return
    const dropped = await database.write(
      (sql) => {
        const wallMs = clock.now()
        for (const { id, beat } of dead) {
          // It may have come back since it was looked at.
          if (sql.all('SELECT 1 FROM owners WHERE id = ? AND beat = ?', [id, beat]).length > 0) removeOwner(sql, id, wallMs)
        }
        deleteExpiredQueues(sql, wallMs)
        deleteExpiredMessages(sql, wallMs)
        return requeueOrphans(sql, settleLimits(location, clock.now()))
      },
      { essential: true, patienceMs: leasePatienceMs(location.leaseTtlMs) },
    )
    onDropped(dropped)
  }
}

function hasRubbish(sql: Sql, nowMs: number): boolean {
  return (
    sql.all('SELECT 1 FROM messages WHERE expires <= ? LIMIT 1', [nowMs]).length > 0 ||
    sql.all('SELECT 1 FROM queues WHERE expires_ms IS NOT NULL AND used_at + expires_ms <= ? LIMIT 1', [nowMs]).length > 0 ||
    sql.all('SELECT 1 FROM leases WHERE owner NOT IN (SELECT id FROM owners) LIMIT 1').length > 0
  )
}
