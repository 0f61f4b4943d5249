import { parseRate } from '../../app/rate.js'
import { InvalidMessageError, show } from '../../errors.js'
import { decodeFlag, decodeRevoke, decodeSignal } from '../../protocol/mailbox.js'
import { isRecord } from '../../protocol/plain.js'
import { repr } from '../../protocol/repr.js'
import type { CommandHandler, Panel } from '../panel.js'
import { stampValues } from '../revoked.js'
import { name, optionalSeconds, textList } from './arguments.js'

/** The note of a revoke is kept for workers that start later as long as results are, and a day at least. */
const noteSecondsAtLeast = 86_400

export const revoke: CommandHandler = (panel, args) => revokeIds(panel, args)

export const terminate: CommandHandler = (panel, args) => revokeIds(panel, { ...args, terminate: true })

async function revokeIds(panel: Panel, args: Readonly<Record<string, unknown>>): Promise<unknown> {
  const { taskIds, terminate: ends, signal } = decodeRevoke(args)
  const { core } = panel
  panel.revoked.add(taskIds)
  const wanted = new Set(taskIds)
  // The name was checked to look like a signal's; one that the system does not have is refused when it is sent.
  const ended = panel.endRevoked(ends ? (signal as NodeJS.Signals) : undefined, ({ head }) => wanted.has(head.id))
  core.log.info({ task_ids: taskIds }, `${ends ? 'Terminating' : 'Tasks flagged as revoked:'} ${taskIds.join(', ')}`)
  const backend = await core.connections.backend()
  if (backend.supports.durableRevoke)
    await backend.revoke(taskIds, { expiresSeconds: Math.max(core.config.resultExpires ?? 0, noteSecondsAtLeast) })
  if (!ends) return { ok: `tasks ${setOf(taskIds)} flagged as revoked` }
  return { ok: ended.length === 0 ? 'terminate: tasks unknown' : `terminate: ${ended.join(', ')}` }
}

export const revoke_by_stamped_headers: CommandHandler = (panel, { headers, terminate, signal }) => {
  const ends = decodeFlag(terminate, 'terminate')
  const wanted = stampsOf(headers)
  for (const [header, values] of wanted) panel.revoked.addStamp(header, values)
  const shown = repr(Object.fromEntries(wanted))
  const hit = new Map<string, Set<string>>()
  const ended = panel.endRevoked(ends ? (decodeSignal(signal) as NodeJS.Signals) : undefined, ({ head }) => {
    let matches = false
    for (const [header, values] of wanted) {
      for (const value of stampValues(head.stamps[header])) {
        if (!values.includes(value)) continue
        matches = true
        hit.set(header, (hit.get(header) ?? new Set()).add(value))
      }
    }
    return matches
  })
  panel.core.log.info({ headers: Object.fromEntries(wanted) }, `Tasks flagged as revoked by their stamps: ${shown}`)
  if (!ends) return { ok: `headers ${shown} flagged as revoked, but not terminated` }
  return { ok: ended.length === 0 ? `headers ${shown} were not terminated` : `headers ${repr(Object.fromEntries(hit))} revoked` }
}

/** An object of names and values, or texts such as `name=value`. */
function stampsOf(headers: unknown): ReadonlyMap<string, readonly string[]> {
  if (isRecord(headers)) return new Map(Object.entries(headers).map(([header, value]) => [header, stampValues(value)]))
  const stamps = new Map<string, string[]>()
  for (const text of textList(headers, 'headers')) {
    const at = text.indexOf('=')
    if (at < 1) throw new InvalidMessageError(`expected each of headers to be name=value, got: ${show(text)}`)
    const header = text.slice(0, at)
    stamps.set(header, [...(stamps.get(header) ?? []), text.slice(at + 1)])
  }
  return stamps
}

export const rate_limit: CommandHandler = (panel, { task_name: task, rate_limit: given }) => {
  const perSecond = parseRate(given)
  if (perSecond === undefined) return { error: `Invalid rate limit string: ${repr(given)}` }
  const { core, limits } = panel
  if (core.registry.get(name(task, 'task_name')) === undefined) return unknownTask(panel, task)
  limits.set(name(task, 'task_name'), perSecond)
  panel.limitsChanged()
  core.log.info(
    { task, rate_limit: given },
    perSecond === 0 ? `Rate limits disabled for tasks of type ${task}` : `New rate limit for tasks of type ${task}: ${given}.`,
  )
  return { ok: perSecond === 0 ? 'rate limit disabled successfully' : 'new rate limit set successfully' }
}

export const time_limit: CommandHandler = (panel, { task_name: task, hard, soft }) => {
  const { core } = panel
  const definition = core.registry.get(name(task, 'task_name'))
  if (definition === undefined) return unknownTask(panel, task)
  const limits = { timeLimit: optionalSeconds(hard, 'hard'), softTimeLimit: optionalSeconds(soft, 'soft') }
  for (const [option, seconds] of Object.entries(limits)) {
    if (seconds === undefined) Reflect.deleteProperty(definition.options, option)
    else Reflect.set(definition.options, option, seconds)
  }
  core.log.info({ task, hard, soft }, `New time limits for tasks of type ${task}: soft=${soft ?? null} hard=${hard ?? null}`)
  return { ok: 'time limits set successfully' }
}

function unknownTask({ core }: Panel, task: unknown): { readonly error: string } {
  core.log.error({ task }, `a remote control request names the task ${show(task)}, which is not registered here`)
  return { error: 'unknown task' }
}

/** As Python shows a set. */
function setOf(ids: readonly string[]): string {
  return ids.length === 0 ? 'set()' : `{${ids.map((id) => repr(id)).join(', ')}}`
}
