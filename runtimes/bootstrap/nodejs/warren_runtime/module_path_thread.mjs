// The hook of module_path.cjs in the asynchronous form that Node.js 20 has.
import modulePath from './module_path.cjs';

export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (!modulePath.isMissingPackage(error, specifier)) {
      throw error;
    }
    for (const parentURL of modulePath.parents) {
      try {
        return await next(specifier, { ...context, parentURL });
      } catch {
        // Not there either.
      }
    }
    throw error;
  }
}
