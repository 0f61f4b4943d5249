/**
 * Who holds a lock: the rule, as pure functions. A record is a list, the oldest first, and its last entry holds the lock:
 *
 *   sending ──confirm──▶ waiting ──claim──▶ started ──release──▶ (gone)
 *      └──undo, or its time is over──▶ (gone: the lock is again whose it was)
 *
 * An entry that another was put over is dropped when that one is known to be at the broker, never before: a sender that dies in between must not cost a task.
 */
import type { Lock, TakeAnswer } from '../limit-store.js'

export interface LockEntry {
  readonly holder: string
  readonly state: 'sending' | 'waiting' | 'started'
  readonly untilMs: number
}

export interface LockView {
  readonly entries: readonly LockEntry[]
  readonly nowMs: number
  /** A task that another took the place of. */
  isDropped(taskId: string): boolean
}

export interface LockChange<Answer> {
  /** Undefined: nothing changes. */
  readonly entries?: readonly LockEntry[]
  /** Tasks that may not run any more, to be remembered for so many ms. */
  readonly drop?: { readonly ids: readonly string[]; readonly forMs: number }
  readonly answer: Answer
}

export type LockRule<Answer> = (view: LockView) => LockChange<Answer>

export function take(
  { holder }: Lock,
  { forMs, over, ended }: { readonly forMs: number; readonly over: 'none' | 'waiting'; readonly ended?: string },
): LockRule<TakeAnswer> {
  return (view) => {
    const others = live(view).filter((entry) => entry.holder !== holder && entry.holder !== ended)
    const last = others.at(-1)
    if (over === 'none' && last !== undefined) return { answer: { status: 'held', by: last.holder, isSent: last.state !== 'sending' } }
    const before = others.filter(({ state }) => state !== 'started').map((entry) => entry.holder)
    return { entries: [...others, { holder, state: 'sending', untilMs: view.nowMs + forMs }], answer: { status: 'taken', before } }
  }
}

export function confirm(
  { holder }: Lock,
  { forMs, before }: { readonly forMs: number; readonly before: readonly string[] },
): LockRule<readonly string[]> {
  return (view) => {
    const entries = live(view)
    const at = entries.findIndex((entry) => entry.holder === holder)
    const own = entries[at]
    // It has ended already; what it took the place of was dropped when it started.
    if (own === undefined) return { answer: before.filter((id) => view.isDropped(id)) }
    const { ids, ...rest } = settled(entries, at, forMs, view.nowMs)
    const kept: LockEntry = { holder, state: own.state === 'started' ? 'started' : 'waiting', untilMs: view.nowMs + forMs }
    return { ...rest, entries: [kept, ...entries.slice(at + 1)], answer: before.filter((id) => ids.includes(id) || view.isDropped(id)) }
  }
}

export function undo({ holder }: Lock): LockRule<void> {
  return (view) => ({ entries: live(view).filter((entry) => entry.holder !== holder), answer: undefined })
}

export function claim({ holder }: Lock, { forMs }: { readonly forMs: number }): LockRule<'run' | 'wait' | 'dropped'> {
  return (view) => {
    if (view.isDropped(holder)) return { answer: 'dropped' }
    const entries = live(view)
    const at = entries.findIndex((entry) => entry.holder === holder)
    const own = entries[at]
    if (own === undefined) return { answer: 'run' }
    // A task that has started once goes on, whoever comes after it.
    if (at < entries.length - 1 && own.state !== 'started') return { answer: 'wait' }
    const { ids: _, ...rest } = settled(entries, at, forMs, view.nowMs)
    const untilMs = own.state === 'sending' ? view.nowMs + forMs : own.untilMs
    return { ...rest, entries: [{ holder, state: 'started', untilMs }, ...entries.slice(at + 1)], answer: 'run' }
  }
}

export function release({ holder }: Lock): LockRule<void> {
  return (view) => {
    const entries = live(view)
    const at = entries.findIndex((entry) => entry.holder === holder)
    const own = entries[at]
    if (own === undefined) return { answer: undefined }
    const { ids: _, ...rest } = settled(entries, at, own.untilMs - view.nowMs, view.nowMs)
    return { ...rest, entries: entries.slice(at + 1), answer: undefined }
  }
}

/** The entry at `at` was sent: those before it that have not started never will. */
function settled(
  entries: readonly LockEntry[],
  at: number,
  forMs: number,
  nowMs: number,
): { readonly ids: readonly string[]; readonly drop?: { readonly ids: readonly string[]; readonly forMs: number } } {
  const before = entries.slice(0, at).filter(({ state }) => state !== 'started')
  const ids = before.map(({ holder }) => holder)
  if (ids.length === 0) return { ids }
  return { ids, drop: { ids, forMs: Math.max(forMs, ...before.map(({ untilMs }) => untilMs - nowMs)) } }
}

function live({ entries, nowMs }: LockView): readonly LockEntry[] {
  return entries.filter(({ untilMs }) => untilMs > nowMs)
}
