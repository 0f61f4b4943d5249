import type { SigningOptions } from '../serializers/index.js'
import type { Config } from './config.js'

/** The options of message signing; its files are read when the serializer `auth` is first used. */
export function signingOf(config: Config, now: () => number): SigningOptions {
  return {
    key: config.securityKey,
    keyPassword: config.securityKeyPassword,
    certificate: config.securityCertificate,
    certStore: config.securityCertStore,
    digest: config.securityDigest,
    inner: config.securitySerializer,
    accepted: config.securityAcceptContent,
    now,
  }
}
