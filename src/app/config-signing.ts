import { listOf, nullable, oneOf, text } from '../internal/option-kinds.js'
import { digests } from '../serializers/digests.js'
import { secret } from './config-kinds.js'
import { row } from './config-row.js'

/** Rows of the table: who signs messages, and who is believed. */
export const signingRows = {
  securityKey: row('Message signing', nullable(text), null, {
    sentence: 'The file with the private RSA key (PEM) that messages of the serializer `auth` are signed with.',
  }),
  securityKeyPassword: row('Message signing', nullable(secret), null, { sentence: 'The password of that key, if it has one.' }),
  securityCertificate: row('Message signing', nullable(text), null, {
    sentence: 'The file with the X.509 certificate (PEM) of that key: its issuer and serial number are what the signer is called.',
  }),
  securityCertStore: row('Message signing', nullable(text), null, {
    sentence: 'A folder with the certificates of all who are trusted to sign, or one file.',
  }),
  securityDigest: row('Message signing', oneOf(...digests), 'sha256', {
    sentence: 'What a signature is made of. All who sign and verify must have the same.',
  }),
  securitySerializer: row('Message signing', oneOf('json', 'msgpack', 'yaml'), 'json', {
    sentence: 'How the body is written that is signed.',
    own: true,
  }),
  securityAcceptContent: row('Message signing', listOf('serializers', oneOf('json', 'msgpack', 'yaml')), ['json'], {
    sentence: 'What a signed body may be written with, to be read.',
    own: true,
  }),
}
