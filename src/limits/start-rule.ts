/** The rule by which starts are granted, for stores whose records are at hand. The Redis driver has the same as a script (redis-scripts.ts); one conformance suite runs all. */
import { type HeldSlot, longestAheadMs, type StartAnswer, type StartAsk } from '../limit-store.js'

/** What a store keeps: text under a name, until its time is over. */
export interface Records {
  read(name: string): string | undefined
  /** For so many ms from now. */
  write(name: string, text: string, forMs: number): void
  remove(name: string): void
}

interface SlotRecord {
  held: (readonly [holder: string, untilMs: number])[]
  /** Owners that were refused, and when they were so first and last. */
  waiting: (readonly [owner: string, sinceMs: number, seenMs: number])[]
}

/** Who has waited so long is let in before others: short tasks are not held up by taking turns, and nobody starves. */
export const patienceMs = 1_000
/** Who has not asked again for so long does not wait any more. */
export const forgottenMs = 2_000
/** When to ask again: the first in line, and the others. */
export const soonMs = 50
export const laterMs = 250

/** For so long a start is known at least: the interval may be made longer meanwhile. */
export const rememberedMs = 60_000

export const rateKey = (name: string): string => `rate.${name}`
export const slotKey = (name: string): string => `slots.${name}`

export function start(records: Records, ask: StartAsk, nowMs: number): StartAnswer {
  let startMs = nowMs
  for (const { name, intervalMs } of ask.rates) {
    const lastMs = Number(records.read(rateKey(name)) ?? Number.NEGATIVE_INFINITY)
    // A clock that began anew must not stop anybody for long.
    if (lastMs <= nowMs + longestAheadMs) startMs = Math.max(startMs, lastMs + intervalMs)
  }
  const lateMs = Math.max(0, startMs - nowMs - ask.aheadMs)
  let slotsMs = 0
  const slots = ask.slots.map(({ name, limit }) => {
    const record = slotRecord(records, name, nowMs, ask.leaseMs)
    const mine = record.waiting.find(([owner]) => owner === ask.owner)
    const older = record.waiting.filter(([owner, sinceMs]) => owner !== ask.owner && sinceMs < (mine?.[1] ?? Number.POSITIVE_INFINITY))
    const first = older.filter(([, sinceMs]) => nowMs - sinceMs >= patienceMs)
    record.waiting = record.waiting.filter((one) => one !== mine)
    const isFree = limit - record.held.length > first.length
    if (!isFree) {
      record.waiting.push([ask.owner, mine?.[1] ?? nowMs, nowMs])
      slotsMs = Math.max(slotsMs, older.length === 0 ? soonMs : laterMs)
    }
    return { name, record }
  })
  const isGranted = lateMs === 0 && slotsMs === 0
  for (const { name, record } of slots) {
    if (isGranted) record.held.push([ask.holder, nowMs + ask.leaseMs])
    writeSlots(records, name, record, ask.leaseMs)
  }
  if (!isGranted) return { status: 'wait', inMs: Math.max(lateMs, slotsMs), by: slotsMs > 0 ? 'slots' : 'rate' }
  for (const { name, intervalMs } of ask.rates)
    records.write(rateKey(name), String(startMs), Math.max(rememberedMs, intervalMs + longestAheadMs))
  return { status: 'granted', inMs: startMs - nowMs }
}

export function renew(records: Records, { name, holder }: HeldSlot, leaseMs: number, nowMs: number): void {
  const record = slotRecord(records, name, nowMs, leaseMs)
  record.held = [...record.held.filter(([held]) => held !== holder), [holder, nowMs + leaseMs]]
  writeSlots(records, name, record, leaseMs)
}

export function free(records: Records, { name, holder }: HeldSlot, nowMs: number): void {
  const record = slotRecord(records, name, nowMs, Number.POSITIVE_INFINITY)
  if (!record.held.some(([held]) => held === holder)) return
  record.held = record.held.filter(([held]) => held !== holder)
  const lastMs = Math.max(forgottenMs, ...record.held.map(([, untilMs]) => untilMs - nowMs))
  if (record.held.length + record.waiting.length === 0) records.remove(slotKey(name))
  else writeSlots(records, name, record, lastMs)
}

/** Without those whose time is over. A lease that ends later than any can was written by a clock that has begun anew since. */
function slotRecord(records: Records, name: string, nowMs: number, leaseMs: number): SlotRecord {
  const text = records.read(slotKey(name))
  if (text === undefined) return { held: [], waiting: [] }
  // Written by this module.
  const record = JSON.parse(text) as SlotRecord
  return {
    held: record.held
      .filter(([, untilMs]) => untilMs > nowMs)
      .map(([holder, untilMs]) => [holder, Math.min(untilMs, Math.max(nowMs + leaseMs, nowMs + 60_000))]),
    waiting: record.waiting.filter(([, , seenMs]) => seenMs <= nowMs && nowMs - seenMs < forgottenMs),
  }
}

function writeSlots(records: Records, name: string, record: SlotRecord, leaseMs: number): void {
  records.write(slotKey(name), JSON.stringify(record), Math.max(forgottenMs, leaseMs, 60_000))
}
