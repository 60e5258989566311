# Cross build for 64-bit Arm with Debian's g++-aarch64-linux-gnu; tests run under qemu-user where it is installed.
#   cmake -S native -B native/build-aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake
#   cmake --build native/build-aarch64 --target kvant_tests && ctest --test-dir native/build-aarch64
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
find_program(KVANT_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(KVANT_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${KVANT_QEMU} -L /usr/aarch64-linux-gnu)
endif()
