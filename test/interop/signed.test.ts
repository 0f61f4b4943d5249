/** Messages signed by one language and verified by the other: Celery's `setup_security()` on the Python side. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { chain } from '../../dist/index.js'
import { needs } from '../../scripts/needs.mjs'
import { KeyFolder, newIdentity } from '../certificates.js'
import { Fleet } from './fleet.js'
import { skipped, title } from './needs.js'

/** In CI scripts/install.mjs has made it. */
const withoutCryptography = skipped || needs.cryptography?.find() === undefined

describe.skipIf(withoutCryptography)(title('signed messages'), () => {
  const folder = new KeyFolder()
  const identities = {
    python: newIdentity({
      issuer: [
        ['O', 'Pyramid'],
        ['CN', 'python, the "one"'],
      ],
    }),
    node: newIdentity({
      issuer: [
        ['C', 'DE', 'printable'],
        ['CN', 'Nöde', 'bmp'],
      ],
    }),
  }
  let fleet: Fleet
  beforeAll(async () => {
    for (const [name, identity] of Object.entries(identities)) folder.trust(name, identity)
    const key = { python: folder.signer('python', identities.python), node: folder.signer('node', identities.node) }
    fleet = await Fleet.start({
      python: ['python'],
      node: ['node'],
      pythonConfig: {
        task_serializer: 'auth',
        accept_content: ['auth'],
        result_accept_content: ['json'],
        security_key: key.python.securityKey,
        security_certificate: key.python.securityCertificate,
        security_cert_store: `${folder.store}/*.pem`,
      },
      nodeOptions: { taskSerializer: 'auth', acceptContent: ['auth'], ...key.node, securityCertStore: `${folder.store}/*.pem` },
    })
  }, 90_000)
  afterAll(async () => {
    await fleet?.[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
  })

  test('each language runs what either has signed, and what each sends after it', async () => {
    for (const queue of ['python', 'node']) {
      expect(await fleet.app.sendTask('interop.add', { args: [2, 3] }, { queue }).get({ timeout: 30 })).toBe(5)
      const id = await fleet.callers.python.call('interop.add', [20, 3], {}, { queue })
      expect(await fleet.app.result(id).get({ timeout: 30 })).toBe(23)
      const flaky = await fleet.callers.python.call('interop.flaky', [1], {}, { queue })
      await fleet.app.result(flaky).get({ timeout: 30 })
    }
    const add = (queue: string, ...args: number[]) =>
      fleet.app
        .remote<(...numbers: number[]) => number>('interop.add')
        .s(...args)
        .set({ queue })
    expect(
      await chain(add('python', 1, 2), add('node', 3), add('python', 4))
        .delay()
        .get({ timeout: 30 }),
    ).toBe(10)
  })

  test('neither runs what is not signed, or is signed by nobody whom it knows', async () => {
    const unsigned = await fleet.app.sendTask('interop.add', { args: [1, 1] }, { queue: 'node', serializer: 'json' })
    await expect(unsigned.get({ timeout: 30 })).rejects.toThrow('refusing a message that is not signed')
    await fleet.app.sendTask('interop.add', { args: [1, 1] }, { queue: 'python', serializer: 'json' })
    await fleet.workerSays(/Refusing to deserialize|ContentDisallowed/)
    await using mallory = fleet.another({ taskSerializer: 'auth', ...folder.signer('mallory', newIdentity({ serial: 66n })) })
    const forged = await mallory.sendTask('interop.add', { args: [1, 1] }, { queue: 'node' })
    await expect(fleet.app.result(forged.id).get({ timeout: 30 })).rejects.toThrow('securityCertStore has no certificate of that name')
    await mallory.sendTask('interop.add', { args: [1, 1] }, { queue: 'python' })
    await fleet.workerSays(/Unknown certificate: .*Acme node1 66/)
  })
})
