import { expect, test } from 'vitest'
import { type Candidate, type Heard, leaderOf } from '../../dist/worker/election-rule.js'

const candidate = (node: string, clock: number): Candidate => ({ hostname: node, node: `${node}.1`, clock, topic: 'task', action: null })
const [ours, other] = [candidate('node0', -1), candidate('node1', -1)]
const [snake, viper] = [candidate('python0', 12), candidate('python1', 13)]
const answer = 'answer'

test.each<[string, readonly Heard[], number, Candidate | undefined]>([
  ['nobody is elected where nobody proposes itself', [], 0, undefined],
  ['the smallest time wins, whoever is heard first', [viper, ours, snake], 2, ours],
  ['of the same time the first name wins, whoever is heard first', [other, ours], 1, ours],
  ['Python workers that have decided before one of ours is heard keep what they decided', [snake, viper, answer, answer, ours], 2, snake],
  ['of two Python workers the smaller time wins', [viper, snake, answer, answer, ours], 2, snake],
  ['a Python worker that has heard one of ours does not think that it has won', [snake, answer, ours, answer], 2, ours],
  ['answers from before its own proposal do not make up its mind', [viper, answer, answer, snake, ours, answer, answer], 2, ours],
  ['a Python worker that has heard itself alone has not won', [snake, answer, ours, answer], 1, ours],
])('%s', (_, heard, others, leader) => {
  expect(leaderOf(heard, others)).toBe(leader)
})
