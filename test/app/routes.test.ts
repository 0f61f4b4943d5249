import { expect, test } from 'vitest'
import { type ConfigInput, givenIn, resolveGiven } from '../../dist/app/config.js'
import { Routes } from '../../dist/app/routes.js'

function bindings(input: ConfigInput, queue: string): { readonly exchange: string; readonly routingKey: string }[] {
  return new Routes(resolveGiven(givenIn(input))).topology(queue).queues.flatMap(({ bindings: found }) => found)
}

test('a queue is bound to the exchange of its own name', () => {
  expect(bindings({}, 'celery')).toEqual([{ exchange: 'celery', routingKey: 'celery' }])
  expect(bindings({ taskQueues: ['mail'] }, 'mail')).toEqual([{ exchange: 'mail', routingKey: 'mail' }])
})

test('the default exchange and routing key are those of the default queue', () => {
  const input: ConfigInput = {
    taskDefaultExchange: 'shop',
    taskDefaultRoutingKey: 'shop.default',
    taskQueues: ['mail', { name: 'feed', exchange: 'feeds', routingKey: 'f' }],
  }
  expect(bindings(input, 'celery')).toEqual([{ exchange: 'shop', routingKey: 'shop.default' }])
  expect(bindings(input, 'mail')).toEqual([{ exchange: 'mail', routingKey: 'mail' }])
  expect(bindings(input, 'feed')).toEqual([{ exchange: 'feeds', routingKey: 'f' }])
  expect(bindings(input, 'created-on-use')).toEqual([{ exchange: 'created-on-use', routingKey: 'created-on-use' }])
})

test('queue types and priorities are declared as Celery declares them', () => {
  const argumentsOf = (input: ConfigInput, queue: string): unknown =>
    new Routes(resolveGiven(givenIn(input))).topology(queue).queues[0]?.arguments
  expect(argumentsOf({}, 'celery')).toEqual({})
  const quorum: ConfigInput = { task_default_queue_type: 'quorum' }
  expect(argumentsOf(quorum, 'celery')).toEqual({ 'x-queue-type': 'quorum' })
  expect(argumentsOf(quorum, 'missing')).toEqual({})
  expect(argumentsOf({ taskCreateMissingQueueType: 'quorum' }, 'missing')).toEqual({ 'x-queue-type': 'quorum' })
  expect(argumentsOf({ taskCreateMissingQueueType: 'quorum', taskQueues: ['mail'] }, 'mail')).toEqual({})
  expect(argumentsOf({ taskQueueMaxPriority: 10 }, 'celery')).toEqual({ 'x-max-priority': 10 })
  const own: ConfigInput = { taskQueueMaxPriority: 10, taskQueues: [{ name: 'mail', arguments: { 'x-max-priority': 3 } }] }
  expect(argumentsOf(own, 'mail')).toEqual({ 'x-max-priority': 3 })
})
