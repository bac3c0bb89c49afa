import WebRTC

print("delivered")
