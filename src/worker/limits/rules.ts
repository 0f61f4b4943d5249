/** Which limits a task has, by its definition and its queue, and what they are called for one message of it. */
import type { AppCore } from '../../app/core.js'
import { keyOf, keysOf } from '../../app/limit-key.js'
import { type Limit, rateOf, slotsOf, templatesIn } from '../../app/limit-options.js'
import type { TaskDefinition } from '../../app/task.js'
import type { RateAsk } from '../../limit-store.js'
import { isRecord } from '../../protocol/plain.js'
import { decodeBody } from '../../protocol/task-body.js'
import { limitKeysHeader } from '../../protocol/task-headers.js'
import type { ActiveTask } from '../active-task.js'
import type { Stage } from './pass.js'
import { hasSharedRate, type Rates } from './shared-rate.js'

/** A limit of a task or a queue, before a call fills in its key. */
export interface Rule {
  readonly kind: 'rate' | 'slots'
  /** `task/mail.send`. */
  readonly name: string
  readonly limit: Limit
  /** Starts a second at this moment; undefined is no limit. */
  perSecond(): number | undefined
}

/** What limits a task that comes from this queue, beside what RateLimits counts on the worker alone. */
export function rulesOf(core: AppCore, rates: Rates, definition: TaskDefinition, queue: string): readonly Rule[] {
  const ofQueue = core.routes.limitsOf(queue) ?? {}
  const { name, options } = definition
  const rules: Rule[] = []
  const add = (kind: Rule['kind'], of: string, limit: Limit | undefined, perSecond: Rule['perSecond']): void => {
    if (limit !== undefined && limit.limit > 0) rules.push({ kind, name: of, limit, perSecond })
  }
  if (hasSharedRate(definition)) add('rate', `task/${name}`, rateOf(options), () => rates.rateOf(definition))
  const queueRate = rateOf(ofQueue)
  if (!core.config.workerDisableRateLimits) add('rate', `queue/${queue}`, queueRate, () => queueRate?.limit)
  add('slots', `task/${name}`, slotsOf(options), () => undefined)
  add('slots', `queue/${queue}`, slotsOf(ofQueue), () => undefined)
  return rules
}

/** The limits of one task, with the keys that its sender put into the message, or else those that are found in its body. */
export function stagesOf(core: AppCore, task: ActiveTask, rules: readonly Rule[]): readonly Stage[] {
  const keys = rules.some(({ limit }) => limit.key !== undefined) ? keysIn(core, task) : {}
  const nameOf = ({ name, limit: { key } }: Rule): string => (key === undefined ? name : `${name}/${keys[key] ?? ''}`)
  const stages = (['worker', 'cluster'] as const).flatMap((scope): Stage[] => {
    const own = rules.filter(({ limit }) => limit.scope === scope)
    if (own.length === 0) return []
    const rates = own.filter(({ kind }) => kind === 'rate').map((rule) => ({ name: nameOf(rule), rule }))
    const slots = own.filter(({ kind }) => kind === 'slots').map((rule) => ({ name: nameOf(rule), limit: rule.limit.limit }))
    const ratesNow = (): RateAsk[] =>
      rates.flatMap(({ name, rule }) => {
        const perSecond = rule.perSecond()
        return perSecond === undefined ? [] : [{ name, intervalMs: 1_000 / perSecond }]
      })
    return [{ scope, rates: ratesNow, slots }]
  })
  // A start that is counted cannot be given back, slots can: who counts starts is asked last.
  const hasRates = (stage: Stage): number => (stage.rates().length > 0 ? 1 : 0)
  return [...stages].sort((a, b) => hasRates(a) - hasRates(b))
}

function keysIn(core: AppCore, { message, head, definition, delivery }: ActiveTask): Readonly<Record<string, unknown>> {
  const sent = message.headers[limitKeysHeader]
  const templates = [...templatesIn(definition?.options ?? {}), ...templatesIn(core.routes.limitsOf(delivery.queue) ?? {})]
  const known = isRecord(sent) ? sent : {}
  if (templates.every((template) => typeof known[template] === 'string')) return shortKeys(known)
  // A Python program sent it, or one with other options.
  try {
    const compression = head.compression === null ? {} : { compression: head.compression }
    const body = decodeBody(core.serializers.decode({ ...message, ...compression }, { accept: core.config.acceptContent }))
    return { ...keysOf(templates, body, definition?.params ?? []), ...shortKeys(known) }
  } catch {
    // What is wrong with it is told when it runs; until then it counts with those that have no key.
    return {}
  }
}

/** They may come from anybody. */
function shortKeys(keys: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  const texts = Object.entries(keys).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return Object.fromEntries(
    texts.map(([template, key]) => [template, key.length <= 255 ? key : keyOf(key, { args: [], kwargs: {} }, []).key]),
  )
}
