import { X509Certificate } from 'node:crypto'
import { z } from 'zod'

/** PEM certificates a private CA signs servers with; public text, kept in `config`. */
export const caCertificate = z
  .string()
  .max(65_536)
  .refine(isCertificate, { error: 'must be one or more PEM certificates' })

function isCertificate(pem: string): boolean {
  try {
    return pem.includes('-----BEGIN CERTIFICATE-----') && new X509Certificate(pem).subject !== ''
  } catch {
    return false
  }
}
