import { readFileSync } from 'node:fs'
import type { PlannedCall } from '../../dist/canvas/plan.js'
import { planSignature } from '../../dist/canvas/planner.js'
import type { WireSignature } from '../../dist/protocol/signature.js'

interface Message {
  readonly headers: Readonly<Record<string, unknown>>
  readonly args: readonly unknown[]
  readonly kwargs: unknown
  readonly embed: unknown
  readonly priority: number
}

/** What scripts/record-canvas.py wrote: a signature, what it was applied with, and what real Python sent. */
export interface RecordedCanvas {
  readonly name: string
  readonly by: 'client' | 'worker'
  readonly signature: WireSignature
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly options: Readonly<Record<string, unknown>>
  readonly messages: readonly Message[]
  readonly sizes: readonly (readonly [groupId: string, size: number])[]
  readonly result: unknown
}

export const recordings: readonly RecordedCanvas[] = (
  JSON.parse(readFileSync(new URL('../wire/canvas.json', import.meta.url), 'utf8')) as { cases: RecordedCanvas[] }
).cases

/** UUIDs that are made here, and told apart from those of a recording. */
export function countedIds(): () => string {
  let count = 0
  return () => `00000000-0000-4000-8000-${String(++count).padStart(12, '0')}`
}

/**
 * The same shape for what Python sent and for what is planned here, ids renamed in their order. Of what Python does, three things are left out, none of them read
 * by anybody: sizes of groups that are no chord's, a missing parent that a real worker fills in, and the parents that it forgets of a chord whose body is a canvas.
 */
export function sentByPython({ messages, sizes, result, options }: RecordedCanvas, { parents = true } = {}): unknown {
  const text = JSON.stringify(messages)
  const isChord = ([groupId]: readonly [string, number]): boolean =>
    text.includes(`"group":"${groupId}"`) || text.includes(`"group_id":"${groupId}"`)
  const sent = messages.map(({ headers: { stamped_headers: _, ...headers }, args, kwargs, embed, priority }) => ({
    headers: { ...headers, parent_id: headers.parent_id ?? options.parent_id ?? null },
    args,
    kwargs,
    embed,
    priority,
  }))
  return renamed({ sent, sizes: Object.fromEntries(sizes.filter(isChord)), ...(parents ? { result } : {}) })
}

export function plannedHere({ signature, args, kwargs, options }: RecordedCanvas, { parents = true } = {}): unknown {
  const plan = planSignature(signature, { args, kwargs, options, newId: countedIds() })
  const sent: unknown[] = []
  const sizes: Record<string, number> = {}
  for (const step of plan.steps) {
    if (step.kind === 'chord') sizes[step.groupId] = step.size
    if (step.kind === 'send') sent.push(messageOf(step.call))
  }
  return renamed({ sent, sizes, ...(parents ? { result: plan.result } : {}) })
}

function messageOf({ id, task, args, kwargs, embed, options, groupId, groupIndex, rootId, parentId }: PlannedCall): unknown {
  const names = (options.stamped_headers ?? []) as string[]
  const stamps = Object.fromEntries(names.map((name) => [name, options[name]]))
  return {
    headers: { task, id, group: groupId, group_index: groupIndex, root_id: rootId ?? id, parent_id: parentId, stamps },
    args,
    kwargs,
    embed,
    priority: options.priority ?? 0,
  }
}

/** Without what is not compared: nulls among options, addresses, ids of links (Python gives them none) and of headers within (Python makes new ones when it reads them), the chord's size, Python's stray option. */
function renamed(value: unknown): unknown {
  const names = new Map<string, string>()
  const text = JSON.stringify(sorted(value, ''))
  const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g
  return JSON.parse(
    text.replace(uuid, (id) => {
      names.set(id, names.get(id) ?? `#${names.size}`)
      return names.get(id) as string
    }),
  )
}

function sorted(value: unknown, key: string): unknown {
  if (Array.isArray(value)) return value.map((item) => sorted(item, key))
  if (typeof value !== 'object' || value === null) return value
  const isLink = key === 'callbacks' || key === 'errbacks' || key === 'link' || key === 'link_error'
  const isChord = (value as { subtask_type?: unknown }).subtask_type === 'chord'
  const entries = Object.entries(value)
    .filter(([name, inner]) => {
      if (name === 'reply_to' || name === 'chord_size') return false
      if (key === 'options' && (inner === null || name === 'immutable' || name === 'add_to_parent')) return false
      return true
    })
    .map(([name, inner]): [string, unknown] => {
      if ((isLink || isChord) && name === 'options') {
        const { task_id: _, ...rest } = inner as Record<string, unknown>
        return [name, sorted(rest, 'options')]
      }
      // A header is a list of tasks or a group of them: either is read.
      if (name === 'header' && !Array.isArray(inner)) return [name, sorted((inner as { kwargs: { tasks: unknown } }).kwargs.tasks, name)]
      return [name, sorted(inner, name)]
    })
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}
