import { isName } from '../../protocol/name.js'
import { isRecord } from '../../protocol/plain.js'
import type { CommandHandler } from '../panel.js'
import { name } from './arguments.js'

export const enable_events: CommandHandler = ({ core, presence: { events } }) => {
  if (events.enabled) return { ok: 'task events already enabled' }
  events.enabled = true
  core.log.info({}, 'Events of group {task} enabled by remote.')
  return { ok: 'task events enabled' }
}

export const disable_events: CommandHandler = ({ core, presence: { events } }) => {
  if (!events.enabled) return { ok: 'task events already disabled' }
  events.enabled = false
  core.log.info({}, 'Events of group {task} disabled by remote.')
  return { ok: 'task events disabled' }
}

export const heartbeat: CommandHandler = ({ presence: { heart } }) => {
  heart?.beat()
  return null
}

/** A worker that starts tells what it knows to be revoked, and is told the same. Nothing to itself. */
export const hello: CommandHandler = ({ hostname, revoked, core }, { from_node: from, revoked: theirs }) => {
  if (name(from, 'from_node') === hostname) return null
  core.log.info({ from }, `sync with ${from}`)
  revoked.add(revokedIds(theirs))
  return { revoked: revoked.ids.ids(), clock: core.lamport.forward() }
}

/** The ids alone: the times that some send with them are of another machine's clock. */
export function revokedIds(value: unknown): readonly string[] {
  const ids: readonly unknown[] = Array.isArray(value) ? value : isRecord(value) ? Object.keys(value) : []
  return ids.filter(isName)
}

export const election: CommandHandler = ({ gossip }, { id, topic, action }) => {
  gossip?.elect(name(id, 'id'), name(topic, 'topic'), action)
  return null
}
