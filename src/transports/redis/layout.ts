/** Where kombu keeps what (kombu/transport/redis.py): names of keys and channels of one Redis database. Keys that Python does not know begin with `celeriac.`. */
import type { RedisBrokerOptions } from './options.js'

export class Layout {
  readonly unacked: string
  readonly unackedIndex: string
  readonly dead: string
  readonly deadIndex: string
  /** Notes of paused queues, by queue. */
  readonly paused: string
  readonly #options: RedisBrokerOptions
  readonly #prefix: string
  readonly #fanoutPrefix: string
  readonly #steps: readonly number[]

  constructor(options: RedisBrokerOptions, db: number) {
    this.#options = options
    this.#prefix = options.globalKeyprefix
    this.#fanoutPrefix = options.fanoutPrefix.replaceAll('{db}', String(db))
    this.#steps = options.prioritySteps
    this.unacked = this.#prefix + options.unackedKey
    this.unackedIndex = this.#prefix + options.unackedIndexKey
    this.dead = `${this.#prefix}celeriac.dead`
    this.deadIndex = `${this.#prefix}celeriac.dead.index`
    this.paused = `${this.#prefix}celeriac.paused`
  }

  /** The lists of a queue in the order in which they are served. */
  lists(queue: string): readonly string[] {
    return this.#steps.map((step) => this.#list(queue, step))
  }

  /** The list that a message of this priority waits in: that of the largest step not above it. */
  listFor(queue: string, priority: number | undefined): string {
    const wanted = Math.max(0, Math.min(9, Math.trunc(priority ?? 0) || 0))
    let best = this.#steps[0] ?? 0
    for (const step of this.#steps) if (step <= wanted) best = step
    return this.#list(queue, best)
  }

  /** References to messages that wait for their time, by that time. */
  eta(queue: string): string {
    return `${this.#prefix}celeriac.eta.${queue}`
  }

  /** The number that has passed a fence. */
  fence(key: string): string {
    return `${this.#prefix}celeriac.fence.${key}`
  }

  /** The set of an exchange's bindings. */
  bindings(exchange: string): string {
    return `${this.#prefix}_kombu.binding.${exchange}`
  }

  /** Those of them that stay: kombu 5.7 deletes an exchange's bindings when all its queues that expire have, unless there are some in here. */
  permanentBindings(exchange: string): string {
    return `${this.#prefix}_kombu.binding_permanent.${exchange}`
  }

  /** A member of these sets. */
  binding(routingKey: string, pattern: string, queue: string): string {
    return [routingKey, pattern, queue].join(this.#options.sep)
  }

  readBinding(member: string): { readonly routingKey: string; readonly pattern: string; readonly queue: string } | undefined {
    const [routingKey, pattern, queue, ...more] = member.split(this.#options.sep)
    if (routingKey === undefined || pattern === undefined || queue === undefined || more.length > 0) return undefined
    return { routingKey, pattern, queue }
  }

  /** Where a fan-out exchange publishes. */
  channel(exchange: string, routingKey: string): string {
    const suffix = routingKey !== '' && this.#options.fanoutPatterns ? `/${routingKey}` : ''
    return `${this.#prefix}${this.#fanoutPrefix}${exchange}${suffix}`
  }

  /** What a queue that is bound with this key listens to. */
  channelPattern(exchange: string, routingKey: string): string {
    return this.channel(exchange, routingKey.replaceAll('#', '*'))
  }

  #list(queue: string, step: number): string {
    return this.#prefix + (step === 0 ? queue : `${queue}${this.#options.sep}${step}`)
  }
}

/**
 * The regular expression in the binding of a topic exchange: what kombu writes since 5.7, and every kombu matches with `re.match`. The `*` of older ones takes
 * dots, too.
 */
export function topicPattern(bindingKey: string): string {
  const escaped = bindingKey.replaceAll(/[^A-Za-z0-9.#*]/g, (character) => (character === '\0' ? '\\000' : `\\${character}`))
  const words = escaped.split('.').map((word) => (word === '*' ? '[^\\.]+' : word === '#' ? '.*?' : word))
  return `^${words.join('\\.')}$`
}

/**
 * Whether kombu's pattern takes the routing key. Read as the words that it was made of, never run as a regular expression: it comes from the server, and
 * anybody who may write there could send one that never ends. In all of kombu `#` takes no empty end: `a.#` does not match `a`. A `*` inside of a word stands
 * for itself here.
 */
export function matchesTopicPattern(pattern: string, routingKey: string): boolean {
  if (!pattern.startsWith('^') || !pattern.endsWith('$')) return false
  return matchParts(partsOf(pattern.slice(1, -1).split('\\.')), routingKey)
}

/** word: `*` since kombu 5.7. some: the older one, which takes dots. any: `#`. */
type Part = { readonly kind: 'word' | 'some' | 'any' } | { readonly kind: 'text'; readonly text: string }

/** The separator also stands inside of the patterns for `*`, which splitting therefore cuts in two: `[^` and `]+`, `.*?[^` and `]`. */
function partsOf(words: readonly string[]): readonly Part[] {
  const parts: Part[] = []
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? ''
    if (word === '[^' && words[index + 1] === ']+') {
      parts.push({ kind: 'word' })
      index++
    } else if (word === '.*?[^' && words[index + 1] === ']') {
      parts.push({ kind: 'some' })
      index++
    } else if (word === '.*?') parts.push({ kind: 'any' })
    else
      parts.push({ kind: 'text', text: word.replaceAll(/\\(000|[\s\S])/g, (_, escaped: string) => (escaped === '000' ? '\0' : escaped)) })
  }
  return parts
}

function matchParts(parts: readonly Part[], key: string): boolean {
  // Which positions of the key the parts so far can end at: no backtracking, so the worst case is the product of the lengths.
  let ends = new Set([0])
  for (const [index, part] of parts.entries()) {
    const next = new Set<number>()
    for (const from of ends) {
      const start = index === 0 ? from : key[from] === '.' ? from + 1 : undefined
      if (start === undefined) continue
      if (part.kind === 'text') {
        if (key.startsWith(part.text, start)) next.add(start + part.text.length)
        continue
      }
      for (let end = start; end <= key.length; end++) {
        const last = end > start ? key[end - 1] : undefined
        // A regular expression's dot takes no line feed, its set of all but the dot does.
        if (part.kind === 'word' ? last === '.' : last === '\n') break
        if (part.kind === 'any' || (last !== undefined && last !== '.')) next.add(end)
      }
    }
    ends = next
    if (ends.size === 0) return false
  }
  return ends.has(key.length)
}
