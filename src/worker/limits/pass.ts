/** What a task must be given before it may run: by its own limits, those of its queue, and its lock. */
import type { LimitScope } from '../../app/limit-options.js'
import type { HeldSlot, Lock, RateAsk, SlotAsk } from '../../limit-store.js'

export interface Pass {
  /** Tasks of one line wait for the same. */
  readonly line: string
  /** What the line waits for: `cluster slots task/mail.send`. */
  readonly names: readonly string[]
  /** What is asked of which store, one after the other. */
  readonly stages: readonly Stage[]
  readonly lock: (Lock & { readonly ttlMs: number }) | undefined
  /** Names its slots. */
  readonly holder: string
  /** Slots that it holds. */
  slots: readonly (HeldSlot & { readonly scope: LimitScope })[]
  isGranted: boolean
}

export interface Stage {
  readonly scope: LimitScope
  /** As they are when it is asked: remote control may change them. */
  rates(): readonly RateAsk[]
  readonly slots: readonly SlotAsk[]
}
