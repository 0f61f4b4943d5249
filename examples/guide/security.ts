// Signed messages of docs/guide/security.md: type-checked; test/worker/signed.test.ts runs what it says.
import { Celeriac } from 'celeriac'

// region signed
export const app = new Celeriac('bank', {
  taskSerializer: 'auth', // what this program sends is signed
  acceptContent: ['auth'], // its workers run nothing else
  securityKey: '/etc/celery/worker.key',
  securityCertificate: '/etc/celery/worker.pem',
  securityCertStore: '/etc/celery/trusted', // the certificates of all who may send, each in a file
})
// endregion
