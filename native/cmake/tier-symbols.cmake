# Fails when an object file of a tier offers a weak symbol: an inline function or template of a shared header, compiled with
# that tier's instructions, which the linker may then choose for everybody.
#   cmake -DNM=nm -DLIBRARY=libkvant_core.a -P tier-symbols.cmake
execute_process(COMMAND ${NM} -A ${LIBRARY} OUTPUT_VARIABLE symbols RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${NM} ${LIBRARY} failed")
endif()
string(REGEX MATCHALL "[^\n]*_(avx[0-9a-z]*|amx|neon)\\.cc\\.o:[^\n]* [WVu] [^\n]*" leaks "${symbols}")
if(leaks)
  list(JOIN leaks "\n  " leaks)
  message(FATAL_ERROR "weak symbols in tier objects:\n  ${leaks}")
endif()
