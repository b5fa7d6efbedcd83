/** `security.admin_allowed_addresses`: single addresses and CIDR blocks. */
import { BlockList, isIP } from 'node:net';

const familyOf = (address: string): 'ipv4' | 'ipv6' | undefined => {
  const version = isIP(address);
  if (version === 0) return undefined;
  return version === 4 ? 'ipv4' : 'ipv6';
};
/** An IPv4 address that came over an IPv6 socket. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');

export const isAddressRule = (rule: string): boolean => {
  const [address = '', bits, ...rest] = rule.split('/');
  const family = familyOf(address);
  if (family === undefined || rest.length > 0) return false;
  if (bits === undefined) return true;
  return /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 'ipv4' ? 32 : 128);
};

/** @param rules checked by `isAddressRule`; none allows every address */
export const addressFilter = (rules: readonly string[]): ((address: string) => boolean) => {
  if (rules.length === 0) return () => true;
  const list = new BlockList();
  for (const rule of rules) {
    const [address = '', bits] = rule.split('/');
    const family = familyOf(address) ?? 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return (given) => {
    const address = plain(given);
    const family = familyOf(address);
    return family !== undefined && list.check(address, family);
  };
};
