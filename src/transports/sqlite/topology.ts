/** Exchanges, queues and bindings in the embedded broker. What routing needs is kept in memory and read again when its version moved. */
import { DeclarationMismatchError, NotPublishedError, show } from '../../errors.js'
import type { Sql } from '../../internal/sqlite/sql.js'
import { exchangeDefinition, mustRoute, type QueueLimits, queueDefinition, queueLimits, routes } from '../../protocol/routing.js'
import type { Destination, ExchangeType, Topology } from '../../protocol/topology.js'

interface CachedExchange {
  readonly type: ExchangeType
  readonly bindings: { readonly routingKey: string; readonly queue: string }[]
}

export class TopologyCache {
  #version = 0
  readonly #queues = new Map<string, QueueLimits>()
  readonly #exchanges = new Map<string, CachedExchange>()

  /** The version in the file now: `SELECT` this as one column of what is read anyway. */
  static readonly versionColumn = "(SELECT value FROM counters WHERE name = 'topology')"

  /** Inside the transaction that routes, with the version that it read. */
  refresh(sql: Sql, version: number): void {
    if (version === this.#version) return
    this.#queues.clear()
    this.#exchanges.clear()
    for (const row of sql.all<{ name: string; arguments: string }>('SELECT name, arguments FROM queues')) {
      // Written by declareTopology.
      this.#queues.set(row.name, queueLimits(JSON.parse(row.arguments) as Record<string, unknown>))
    }
    for (const row of sql.all<{ name: string; type: ExchangeType }>('SELECT name, type FROM exchanges')) {
      this.#exchanges.set(row.name, { type: row.type, bindings: [] })
    }
    for (const row of sql.all<{ exchange: string; routing_key: string; queue: string }>(
      'SELECT exchange, routing_key, queue FROM bindings',
    )) {
      this.#exchanges.get(row.exchange)?.bindings.push({ routingKey: row.routing_key, queue: row.queue })
    }
    this.#version = version
  }

  limits(queue: string): QueueLimits | undefined {
    return this.#queues.get(queue)
  }

  /** The queues that get the message, each once; or NotPublishedError. */
  route(to: Destination): Iterable<string> {
    if (to.exchange === '') {
      if (this.#queues.has(to.routingKey)) return [to.routingKey]
      throw new NotPublishedError(`there is no queue ${show(to.routingKey)}: declare it before publishing to it`)
    }
    const exchange = this.#exchanges.get(to.exchange)
    if (exchange === undefined) throw new NotPublishedError(`there is no exchange ${show(to.exchange)}: declare it before publishing to it`)
    const queues = new Set<string>()
    for (const binding of exchange.bindings) if (routes(exchange.type, binding.routingKey, to.routingKey)) queues.add(binding.queue)
    if (queues.size === 0 && mustRoute(to, exchange.type)) {
      throw new NotPublishedError(`no queue is bound to the exchange ${show(to.exchange)} with the routing key ${show(to.routingKey)}`)
    }
    return queues
  }
}

/** Creates what is missing; an exclusive queue belongs to `owner`. */
export function declareTopology(
  sql: Sql,
  { exchanges, queues }: Topology,
  { owner, nowMs }: { readonly owner: number | null; readonly nowMs: number },
): void {
  let changes = 0
  for (const exchange of exchanges) {
    const declared = exchangeDefinition(exchange)
    const existing = sql.first<{ definition: string }>('SELECT definition FROM exchanges WHERE name = ?', [exchange.name])
    if (existing !== undefined && existing.definition !== declared) {
      throw new DeclarationMismatchError('exchange', exchange.name, existing.definition, declared)
    }
    if (existing !== undefined) continue
    sql.run('INSERT INTO exchanges (name, type, definition, auto_delete) VALUES (?, ?, ?, ?)', [
      exchange.name,
      exchange.type,
      declared,
      exchange.autoDelete ? 1 : 0,
    ])
    changes += 1
  }
  for (const queue of queues) {
    const declared = queueDefinition(queue)
    const [existing] = sql.all<{ definition: string; owner: number | null }>('SELECT definition, owner FROM queues WHERE name = ?', [
      queue.name,
    ])
    if (existing !== undefined && (existing.definition !== declared || (existing.owner !== null && existing.owner !== owner))) {
      const ofAnother = existing.definition === declared ? ' of another connection' : ''
      throw new DeclarationMismatchError('queue', queue.name, `${existing.definition}${ofAnother}`, declared)
    }
    if (existing === undefined) {
      sql.run('INSERT INTO queues (name, definition, arguments, auto_delete, owner, expires_ms, used_at) VALUES (?, ?, ?, ?, ?, ?, ?)', [
        queue.name,
        declared,
        JSON.stringify(queue.arguments),
        queue.autoDelete ? 1 : 0,
        queue.exclusive ? owner : null,
        queueLimits(queue.arguments).expiresMs ?? null,
        nowMs,
      ])
      changes += 1
    } else if (queueLimits(queue.arguments).expiresMs !== undefined)
      sql.run('UPDATE queues SET used_at = ? WHERE name = ?', [nowMs, queue.name])
    for (const { exchange, routingKey } of queue.bindings) {
      changes += sql.run('INSERT OR IGNORE INTO bindings (exchange, routing_key, queue) VALUES (?, ?, ?)', [
        exchange,
        routingKey,
        queue.name,
      ])
    }
  }
  if (changes > 0) raiseVersion(sql)
}

/** Removes queues with all that is in them, and the auto-delete exchanges that nothing is bound to any more. */
function deleteQueues(sql: Sql, names: readonly string[]): void {
  for (const name of names) {
    for (const table of ['waiting', 'delayed']) sql.run(`DELETE FROM ${table} WHERE queue = ?`, [name])
    sql.run('DELETE FROM leases WHERE id IN (SELECT id FROM messages WHERE queue = ?)', [name])
    sql.run('DELETE FROM messages WHERE queue = ?', [name])
    const exchanges = sql.all<{ exchange: string }>('SELECT DISTINCT exchange FROM bindings WHERE queue = ?', [name])
    sql.run('DELETE FROM bindings WHERE queue = ?', [name])
    for (const { exchange } of exchanges) {
      sql.run(
        'DELETE FROM exchanges WHERE name = ? AND auto_delete AND NOT EXISTS (SELECT 1 FROM bindings WHERE exchange = exchanges.name)',
        [exchange],
      )
    }
    sql.run('DELETE FROM consumers WHERE queue = ?', [name])
    sql.run('DELETE FROM queues WHERE name = ?', [name])
  }
  if (names.length > 0) raiseVersion(sql)
}

/** Notes a consumer of a queue that goes with its last one; other queues do not need to know. */
export function addConsumer(sql: Sql, consumer: { readonly owner: number; readonly consumer: number }, queue: string): void {
  sql.run(
    'INSERT OR IGNORE INTO consumers (owner, consumer, queue) SELECT ?, ?, name FROM queues WHERE name = ? AND (auto_delete OR expires_ms IS NOT NULL)',
    [consumer.owner, consumer.consumer, queue],
  )
}

/** The consumers of an owner, or one of them, or one queue of it, go; so do the queues that were waiting for that. */
export function removeConsumers(
  sql: Sql,
  nowMs: number,
  where: { readonly owner: number; readonly consumer?: number; readonly queue?: string },
): void {
  const { owner, consumer = null, queue = null } = where
  const left = sql.all<{ queue: string }>(
    'DELETE FROM consumers WHERE owner = ? AND consumer = coalesce(?, consumer) AND queue = coalesce(?, queue) RETURNING queue',
    [owner, consumer, queue],
  )
  const names = [...new Set(left.map((row) => row.queue))]
  for (const name of names) sql.run('UPDATE queues SET used_at = ? WHERE name = ?', [nowMs, name])
  const unused = names.filter((name) => sql.all('SELECT 1 FROM consumers WHERE queue = ? LIMIT 1', [name]).length === 0)
  deleteQueues(
    sql,
    unused.filter((name) => sql.all('SELECT 1 FROM queues WHERE name = ? AND auto_delete', [name]).length > 0),
  )
}

/** Everything that goes with an owner: its row, its consumers, its exclusive queues. Its leases are left to `requeueOrphans`. */
export function removeOwner(sql: Sql, owner: number, nowMs: number): void {
  sql.run('DELETE FROM owners WHERE id = ?', [owner])
  removeConsumers(sql, nowMs, { owner })
  deleteQueues(
    sql,
    sql.all<{ name: string }>('SELECT name FROM queues WHERE owner = ?', [owner]).map((row) => row.name),
  )
}

/** Queues with `x-expires` that nobody consumed for that long. */
export function deleteExpiredQueues(sql: Sql, nowMs: number): void {
  const expired = sql.all<{ name: string }>(
    'SELECT name FROM queues WHERE expires_ms IS NOT NULL AND used_at + expires_ms <= ? AND NOT EXISTS (SELECT 1 FROM consumers WHERE queue = queues.name)',
    [nowMs],
  )
  deleteQueues(
    sql,
    expired.map((row) => row.name),
  )
}

function raiseVersion(sql: Sql): void {
  sql.run("UPDATE counters SET value = value + 1 WHERE name = 'topology'")
}
